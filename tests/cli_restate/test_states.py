"""`state get`, `edit`, `patch` and `clear`, and `services config`."""

import stat
from pathlib import Path

import httpx
import pytest

from cli_restate.tool import Restate
from support.commands import until


@pytest.fixture
def cart(http: httpx.Client, key: str) -> str:
    """The key of a cart with a pear in it."""
    assert http.post(f"/Cart/{key}/add", json="pear").json() == 1
    return key


def items(restate: Restate, key: str) -> str:
    """What `state get` shows of a cart, in one line."""
    return restate.out("state", "get", "Cart", key).partition("KEY VALUE")[2].replace("\n", " ")


def test_get(restate: Restate, cart: str) -> None:
    said = restate.out("state", "get", "Cart", cart)

    assert f"Service Cart\nKey {cart}" in said
    assert items(restate, cart) == ' items [ "pear" ]'
    assert items(restate, "nobody") == ""


def test_edit(restate: Restate, http: httpx.Client, cart: str, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/pear/plum/' \"$1\"\n")
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)

    said = restate.out("state", "edit", "--yes", "Cart", cart, EDITOR=str(editor))

    assert "Successfully submitted state update." in said
    until(lambda: items(restate, cart) == ' items [ "plum" ]')
    assert http.post(f"/Cart/{cart}/add", json="fig").json() == 2


def test_patch(restate: Restate, http: httpx.Client, cart: str) -> None:
    patch = '[{"op": "replace", "path": "/items", "value": ["plum", "fig"]}]'

    restate.out("state", "patch", "--yes", "Cart", cart, "--patch", patch)

    until(lambda: items(restate, cart) == ' items [ "plum", "fig" ]')
    assert http.post(f"/Cart/{cart}/add", json="nut").json() == 3


def test_clear(restate: Restate, http: httpx.Client, cart: str) -> None:
    said = restate.out("state", "clear", "--yes", f"Cart/{cart}")

    assert f"Cart/{cart} [items]" in said
    until(lambda: items(restate, cart) == "")
    assert http.post(f"/Cart/{cart}/add", json="fig").json() == 1


def test_settings_of_a_service(restate: Restate) -> None:
    patch = ("services", "config", "patch", "--yes", "Orders")

    restate.out(*patch, "--idempotency-retention", "2days")
    restate.out(*patch, "--journal-retention", "3h")
    said = restate.out("services", "config", "view", "Orders")

    assert "Idempotent requests retention: 2d" in said
    assert "Journal retention: 3h" in said
