"""State, sends, signals and awakeables."""

import json
from functools import partial
from pathlib import Path
from uuid import uuid4

from support.commands import Cli, until

NOBODY = "0192f0c1-2b3c-7d4e-8f50-617283940a1b"


def add(cli: Cli, key: str, ticket: str) -> None:
    cli.wait_for(cli.send(f"Cart/{key}/add", json.dumps(ticket)), "succeeded")


def test_state_is_shown_entry_by_entry(cli: Cli) -> None:
    key = uuid4().hex
    assert "has no state" in cli.out("state", "get", "Cart", key)
    add(cli, key, "seat2B")

    assert cli.out("state", "get", "Cart", key).splitlines() == [
        "NAME     BYTES  VALUE",
        'tickets     10  ["seat2B"]',
    ]
    assert cli.out("state", "get", "Cart", key, "tickets") == '["seat2B"]\n'
    assert cli.json("state", "get", "Cart", key) == {"tickets": ["seat2B"]}
    assert "Did you mean tickets?" in cli.refused("state", "get", "Cart", key, "tikets")


def test_state_is_set_entry_by_entry_in_the_keys_turn(cli: Cli, tmp_path: Path) -> None:
    key = uuid4().hex
    add(cli, key, "seat2B")

    said = cli.out("state", "set", "Cart", key, "limit", ' {"most":  10} ')

    assert said == f"set limit of Cart/{key}\n"
    assert cli.json("state", "get", "Cart", key) == {"limit": {"most": 10}, "tickets": ["seat2B"]}
    (tmp_path / "tickets.json").write_text('["seat3A"]')
    cli.out("state", "set", "Cart", key, "tickets", f"@{tmp_path}/tickets.json")
    add(cli, key, "seat3B")
    assert cli.json("state", "get", "Cart", key)["tickets"] == ["seat3A", "seat3B"]


def test_state_is_cleared(cli: Cli) -> None:
    key = uuid4().hex
    add(cli, key, "seat2B")
    cli.out("state", "set", "Cart", key, "limit", "10")

    assert cli.out("state", "clear", "Cart", key, "tickets") == f"cleared tickets of Cart/{key}\n"
    assert cli.json("state", "get", "Cart", key) == {"limit": 10}
    assert cli.out("state", "clear", "Cart", key) == f"cleared the state of Cart/{key}\n"
    assert cli.json("state", "get", "Cart", key) == {}


def test_a_change_of_state_says_who_holds_the_key(cli: Cli, tmp_path: Path) -> None:
    key, flag = uuid4().hex, tmp_path / "flag"
    holder = cli.send(f"Cart/{key}/hold", json.dumps(str(flag)))
    cli.wait_for(holder, "running")

    late = cli.refused("state", "set", "Cart", key, "limit", "10", "--timeout", "300ms")
    assert f"held by {holder} (Cart/{key}/hold, running)" in late
    queued = cli.out("state", "set", "Cart", key, "limit", "11", "--no-wait")
    assert f"in the queue of Cart/{key}" in queued
    assert cli.json("state", "get", "Cart", key) == {}

    flag.touch()
    cli.wait_for(queued.split()[-1], "succeeded")
    assert cli.json("state", "get", "Cart", key) == {"limit": 11}


def test_state_without_a_worker_is_left_only_when_asked_for(cli_alone: Cli, cli: Cli) -> None:
    cli_alone.sql(
        "select howdah_core.register_deployment('v0', $1)",
        json.dumps([{
            "name": "Cart", "kind": "object", "handlers": [
                {"name": "~set_state", "kind": "exclusive", "is_public": False,
                 "input_content_type": "application/json", "input_required": True,
                 "idempotency_retention_seconds": 60, "journal_retention_seconds": 60}],
        }]),
    )  # fmt: skip

    refused = cli_alone.refused("state", "set", "Cart", "joe", "limit", "10")
    assert "No worker serves Cart, so nothing was changed" in refused
    assert cli_alone.sql("select * from howdah.invocations") == []

    cli_alone.out("state", "set", "Cart", "joe", "limit", "10", "--no-wait")
    assert cli_alone.sql("select status from howdah.invocations") == [("scheduled",)]


def test_a_service_without_state_is_said(cli: Cli) -> None:
    assert "no state" in cli.refused("state", "get", "Payments", "x")
    assert "is not JSON" in cli.refused("state", "set", "Cart", "joe", "limit", "ten", code=2)
    assert "cannot be read" in cli.refused("state", "set", "Cart", "j", "l", "@nowhere", code=2)


def test_send_prints_the_id_and_works_without_a_server(cli: Cli) -> None:
    id_ = cli.send("Payments/charge", "7")

    cli.wait_for(id_, "succeeded")
    assert cli.json("invocations", "describe", id_)["invoked_by"] == "sql"


def test_send_takes_keys_delays_idempotency_keys_and_files(cli: Cli, tmp_path: Path) -> None:
    key = f"a/b {uuid4().hex}"
    (tmp_path / "ticket.json").write_text('"seat2B"')
    path = f"Cart/{key.replace('/', '%2F')}/add"
    first = cli.send(path, f"@{tmp_path}/ticket.json", "--delay", "1h", "--idempotency-key", key)
    again = cli.send(path, '"seat2B"', "--idempotency-key", key)

    assert first == again
    found = cli.json("invocations", "describe", first)
    assert (found["key"], found["status"], found["input"]) == (key, "scheduled", "seat2B")
    from_stdin = cli.out("send", "Payments/charge", "@-", stdin="8").strip()
    assert cli.json("invocations", "describe", from_stdin)["input"] == 8


def test_send_says_what_does_not_fit(cli: Cli) -> None:
    for arguments, code, why in (
        (("Payment/charge", "7"), 1, "Payments"),
        (("Payments/chrage", "7"), 1, "charge"),
        (("Payments/joe/charge", "7"), 1, "has no keys"),
        (("Cart/add", '"x"'), 1, "called by key"),
        (("Payments/charge",), 1, "needs an argument"),
        (("Payments/wait", "7"), 1, "takes no argument"),
        (("Payments/charge", "seven"), 2, "is not JSON"),
        (("Payments",), 2, "does not name a handler"),
        (("Payments/charge", "7", "--delay", "soon"), 2, "is not a duration"),
    ):
        assert why in cli.refused("send", *arguments, code=code), arguments


def test_a_workflow_is_sent_once_for_each_key(cli: Cli) -> None:
    key = uuid4().hex
    assert cli.send(f"Signup/{key}/run", '"joe"') == cli.send(f"Signup/{key}/run", '"ann"')


def test_a_signal_reaches_its_handler_with_a_value_or_a_failure(cli: Cli) -> None:
    yes, no = cli.send("Payments/approve"), cli.send("Payments/approve")

    assert cli.out("signal", yes, "approved", '"by ann"') == f"sent approved to {yes}\n"
    cli.out("signal", no, "approved", "--reject", "not today", "--code", "403")

    cli.wait_for(yes, "succeeded")
    assert cli.json("invocations", "describe", yes)["output"] == "by ann"
    cli.wait_for(no, "failed")
    assert cli.json("invocations", "describe", no)["failure"] == "[403] not today"
    assert "nobody waits any more" in cli.refused("signal", yes, "approved", "1")
    assert "There is no invocation" in cli.refused("signal", NOBODY, "approved", "1")
    assert "not both" in cli.refused("signal", yes, "x", "1", "--reject", "y", code=2)


def written(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_an_awakeable_is_resolved_and_rejected(cli: Cli, tmp_path: Path) -> None:
    names = [tmp_path / "one", tmp_path / "other"]
    ids = [cli.send("Payments/confirm", json.dumps(str(name))) for name in names]
    one, other = (until(partial(written, name)) for name in names)

    assert cli.out("awakeables", "resolve", one, '"fine"') == f"resolved {one}\n"
    assert cli.out("awakeables", "reject", other, "no answer") == f"rejected {other}\n"

    cli.wait_for(ids[0], "succeeded")
    assert cli.json("invocations", "describe", ids[0])["output"] == "fine"
    cli.wait_for(ids[1], "failed")
    assert "no answer" in cli.json("invocations", "describe", ids[1])["failure"]
    assert "nobody waits any more" in cli.refused("awakeables", "resolve", one)
    assert "is not an awakeable id" in cli.refused("awakeables", "resolve", "sign_1x", code=2)
