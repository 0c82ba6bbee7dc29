"""`invocations cancel`, `kill`, `purge`, `pause`, `resume` and `restart-as-new`."""

from pathlib import Path

import httpx
import pytest

from cli_restate.conftest import Send
from cli_restate.tool import Restate
from howdah.ids import parse_id
from support.commands import until

V2 = "dp_100000000000000000000v2"
V9 = "dp_100000000000000000000v9"


def ended(http: httpx.Client, id_: str) -> tuple[int, str]:
    """How an invocation ended; its id may have either form."""
    answer = http.get(f"/restate/invocation/{id_}/attach")
    body = answer.json()
    return answer.status_code, body["message"] if answer.is_error else body


@pytest.fixture
def suspended(restate: Restate, send: Send) -> str:
    """An order that waits to be approved."""
    id_ = send("Orders/place", "pear")
    until(lambda: restate.status(id_) == "suspended")
    return id_


def test_cancel(restate: Restate, http: httpx.Client, suspended: str) -> None:
    said = restate.out("invocations", "cancel", "--yes", suspended)
    again = restate.refused("invocations", "cancel", "--yes", suspended)

    assert f"{suspended} Orders/place" in said
    assert "[OK]: Cancelled 1 invocations" in said
    assert ended(http, suspended) == (409, "cancelled")
    assert f"No invocations found for query {suspended}!" in again
    described = restate.out("invocations", "describe", suspended)
    assert "Status: completed with failure" in described
    assert "[409] cancelled" in described


def test_what_is_named_by_its_uuid(restate: Restate, http: httpx.Client, suspended: str) -> None:
    uuid = str(parse_id(suspended))

    said = restate.out("invocations", "cancel", "--yes", uuid)

    assert f"{suspended} Orders/place" in said
    assert ended(http, uuid) == (409, "cancelled")


def test_cancel_by_target(restate: Restate, http: httpx.Client, send: Send, key: str) -> None:
    holds = send(f"Cart/{key}/check_out")
    waits = send(f"Cart/{key}/check_out")
    elsewhere = send(f"Cart/{key}x/check_out")

    said = restate.out("invocations", "cancel", "--yes", f"Cart/{key}")

    assert "[OK]: Cancelled 2 invocations" in said
    assert ended(http, holds) == (409, "cancelled")
    assert ended(http, waits)[0] == 409
    assert restate.status(elsewhere) != "completed"
    restate.out("invocations", "kill", "--yes", f"Cart/{key}x/check_out")
    assert ended(http, elsewhere) == (409, "killed")


@pytest.mark.parametrize("words", [("kill",), ("cancel", "--kill")])
def test_kill(
    restate: Restate, http: httpx.Client, send: Send, tmp_path: Path, words: tuple[str, ...]
) -> None:
    running = send("Orders/pack", str(tmp_path / "never"))
    until(lambda: restate.status(running) == "running")

    said = restate.out("invocations", *words, "--yes", running)

    assert "[OK]: Killed 1 invocations" in said
    assert ended(http, running) == (409, "killed")


def test_purge(restate: Restate, http: httpx.Client, suspended: str) -> None:
    early = restate.refused("invocations", "purge", "--yes", suspended)
    restate.out("invocations", "kill", "--yes", suspended)

    said = restate.out("invocations", "purge", "--yes", suspended)

    assert f"No invocations found for query {suspended}!" in early
    assert "[OK]: Purged 1 invocations" in said
    assert ended(http, suspended) == (404, "not found")
    assert "not found!" in restate.refused("invocations", "describe", suspended)


def test_pause_and_resume(restate: Restate, http: httpx.Client, send: Send, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    running = send("Orders/pack", str(flag))
    until(lambda: restate.status(running) == "running")

    paused = restate.out("invocations", "pause", "--yes", running)
    until(lambda: restate.status(running) == "paused")
    described = restate.out("invocations", "describe", running)
    flag.touch()
    resumed = restate.out("invocations", "resume", "--yes", running, "--deployment", V2)

    assert f"{running} Orders/pack" in paused
    assert "Status: paused" in described
    assert f"{running} Orders/pack" in resumed
    assert ended(http, running) == (200, "packed")


@pytest.mark.parametrize("deployment", ["keep", "latest"])
def test_resume_what_backs_off(
    restate: Restate, http: httpx.Client, send: Send, tmp_path: Path, deployment: str
) -> None:
    flag = tmp_path / "flag"
    failing = send("Orders/charge", str(flag))
    described = until(lambda: backing_off(restate, failing))
    restate.out("invocations", "pause", "--yes", failing)
    until(lambda: restate.status(failing) == "paused")
    flag.touch()

    restate.out("invocations", "resume", "--yes", failing, "--deployment", deployment)

    assert "the bank is closed" in described
    assert ended(http, failing) == (200, "charged")


def backing_off(restate: Restate, id_: str) -> str | None:
    """What is described of an invocation, if it backs off."""
    described = restate.out("invocations", "describe", id_)
    return described if "Status: backing-off" in described else None


def test_resume_on_a_deployment_that_is_not_there_changes_nothing(
    restate: Restate, send: Send, tmp_path: Path
) -> None:
    running = send("Orders/pack", str(tmp_path / "never"))
    until(lambda: restate.status(running) == "running")
    restate.out("invocations", "pause", "--yes", running)
    until(lambda: restate.status(running) == "paused")

    # `restate` says that it was resumed whatever the answer is.
    restate.out("invocations", "resume", "--yes", running, "--deployment", V9)

    assert restate.status(running) == "paused"
    restate.out("invocations", "kill", "--yes", running)


def test_restart_as_new(restate: Restate, http: httpx.Client, send: Send, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    done = send("Orders/pack", str(flag))
    assert ended(http, done) == (200, "packed")

    said = restate.out("invocations", "restart-as-new", "--yes", done)

    new = next(line for line in said.splitlines() if line.startswith(f"{done} inv_1")).split()[1]
    assert "[OK]: Restarted 1 invocations" in said
    assert ended(http, new) == (200, "packed")
    assert restate.rows(f"select restarted_from from sys_invocation where id = '{new}'") == [
        {"restarted_from": done}
    ]


def test_what_nothing_is_found_for_is_said(restate: Restate) -> None:
    for query in ("inv_100000000000000000000000000000000", "Nobody", "Cart/nobody/add"):
        for verb in ("cancel", "kill", "purge", "pause", "resume", "restart-as-new"):
            said = restate.refused("invocations", verb, "--yes", query)
            assert f"No invocations found for query {query}!" in said
