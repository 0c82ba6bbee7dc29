"""Operating: it takes effect at once, with a server, and without one."""

import json
from pathlib import Path
from uuid import uuid4

import httpx

from support.commands import Cli, until
from support.servers import HowdahProcess, Servers

PROGRAM = Path(__file__).with_name("program.py")
NOBODY = "0192f0c1-2b3c-7d4e-8f50-617283940a1b"


def test_cancel_reaches_the_handler_and_the_caller_that_waits_for_it(
    cli: Cli, server: HowdahProcess
) -> None:
    caller = cli.send(f"Cart/{uuid4().hex}/check_out")
    cli.wait_for(caller, "suspended")

    said = cli.out("invocations", "cancel", caller)

    assert f"asked {caller} to cancel" in said
    cli.wait_for(caller, "failed")
    assert cli.json("invocations", "describe", caller)["failure_code"] == 409


def test_kill_ends_an_invocation_its_callees_and_who_waits_over_http(
    cli: Cli, server: HowdahProcess
) -> None:
    caller = cli.send(f"Cart/{uuid4().hex}/check_out")
    cli.wait_for(caller, "suspended")
    ((callee,),) = cli.sql("select id::text from howdah.invocations where parent_id = $1", caller)
    with httpx.Client(base_url=server.ingress, timeout=20, trust_env=False) as http:
        assert cli.out("invocations", "kill", caller) == f"killed {caller}\n"

        answer = http.get(f"/restate/invocation/{caller}/attach")

    assert answer.status_code == 409
    cli.wait_for(callee, "killed")


def test_pause_takes_running_code_away_and_resume_brings_it_back(cli: Cli, tmp_path: Path) -> None:
    key, flag = uuid4().hex, tmp_path / "flag"
    id_ = cli.send(f"Cart/{key}/hold", json.dumps(str(flag)))
    cli.wait_for(id_, "running")

    assert cli.out("invocations", "pause", id_) == f"paused {id_}\n"
    assert cli.status(id_) == "paused"
    flag.touch()
    assert cli.out("invocations", "resume", id_) == f"resumed {id_}\n"

    cli.wait_for(id_, "succeeded")


def test_resume_starts_at_once_though_nobody_polls(server: HowdahProcess, cli: Cli) -> None:
    waits = cli.send("Payments/wait")
    cli.wait_for(waits, "suspended")
    before = cli.json("invocations", "describe", waits)["attempts"]

    cli.out("invocations", "resume", waits)

    until(lambda: cli.json("invocations", "describe", waits)["attempts"] > before, seconds=10)


def test_restart_begins_a_completed_one_again(cli: Cli) -> None:
    id_ = cli.send("Payments/charge", "7")
    cli.wait_for(id_, "succeeded")

    said = cli.out("invocations", "restart", id_, "--from", "1")

    new_id = said.split()[-1]
    assert said == f"restarted {id_} as {new_id}\n"
    cli.wait_for(new_id, "succeeded")
    found = cli.json("invocations", "describe", new_id)
    assert (found["restarted_from"], found["output"]) == (id_, 7)


def test_purge_removes_a_completed_one(cli: Cli) -> None:
    id_ = cli.send("Payments/charge", "7")
    cli.wait_for(id_, "succeeded")

    assert cli.out("invocations", "purge-journal", id_) == f"journal removed of {id_}\n"
    assert len(cli.json("invocations", "describe", id_)["journal"]) == 1
    assert cli.out("invocations", "purge", id_) == f"purged {id_}\n"
    assert cli.status(id_) == "gone"


def test_what_does_not_fit_is_said_and_exits_with_1(cli: Cli) -> None:
    done, waits = cli.send("Payments/charge", "7"), cli.send("Payments/wait")
    delayed = cli.send("Payments/charge", "7", "--delay", "1h")
    cli.wait_for(done, "succeeded")
    cli.wait_for(waits, "suspended")

    for verb, id_, why in (
        ("cancel", NOBODY, "no such invocation"),
        ("kill", done, "completed already"),
        ("pause", delayed, "has not begun"),
        ("resume", delayed, "has not begun"),
        ("purge", waits, "not completed"),
        ("restart", waits, "not completed"),
    ):
        said = cli.refused("invocations", verb, id_)
        assert f"{id_} is unchanged" in said
        assert why in said
    out_of_range = cli.refused("invocations", "restart", done, "--from", "99")
    assert "no such entry" in out_of_range
    assert "Did you mean v1?" in cli.refused("invocations", "resume", waits, "--deployment", "v11")


def test_of_several_ids_those_that_fit_are_changed(cli: Cli) -> None:
    done, waits = cli.send("Payments/charge", "7"), cli.send("Payments/wait")
    cli.wait_for(done, "succeeded")
    cli.wait_for(waits, "suspended")

    ran = cli.run("invocations", "kill", done, waits, "--json")

    assert ran.returncode == 1
    found = json.loads(ran.stdout)
    assert [one["id"] for one in found["succeeded"]] == [waits]
    assert [(one["id"], one["result"]) for one in found["failed"]] == [(done, "completed")]


def test_a_filter_asks_before_it_changes_many(cli: Cli) -> None:
    ids = [cli.send("Payments/approve") for _ in range(3)]
    for id_ in ids:
        cli.wait_for(id_, "suspended")
    arguments = ("invocations", "kill", "--service", "Payments", "--handler", "approve")

    asked = cli.refused(*arguments, code=2)
    assert "Kill 3 invocations?" in asked
    assert "--yes" in asked
    assert {cli.status(id_) for id_ in ids} == {"suspended"}

    assert cli.out(*arguments, "--yes") == "killed 3 invocations\n"
    assert {cli.status(id_) for id_ in ids} == {"killed"}
    assert cli.out(*arguments, "--yes") == "There are no such invocations.\n"


def test_without_ids_and_filter_nothing_is_done(cli: Cli) -> None:
    assert "There is nothing to cancel" in cli.refused("invocations", "cancel", code=2)
    both = cli.refused("invocations", "cancel", NOBODY, "--service", "Cart", code=2)
    assert "not both" in both


def test_many_are_counted_while_they_are_changed(cli_alone: Cli, servers: Servers) -> None:
    served = servers.serve(cli_alone.dsn, str(PROGRAM))
    served.wait_until_said("Try next")
    served.stop()
    cli_alone.sql(
        "select howdah.send('Payments', 'charge', '7', delay => interval '1 day')"
        " from generate_series(1, 2050)"
    )

    ran = cli_alone.run("invocations", "cancel", "--status", "scheduled", "--yes")

    assert (ran.returncode, ran.stdout) == (0, "cancelled 2,050 invocations\n")
    assert "cancelling: 1,000 of 2,050" in ran.stderr
    assert cli_alone.out("check") == "everything is consistent\n"


def test_kill_needs_no_server_to_end_the_callees(cli_alone: Cli, servers: Servers) -> None:
    served = servers.serve(cli_alone.dsn, str(PROGRAM), HOWDAH_INACTIVITY_TIMEOUT="50ms")
    served.wait_until_said("Try next")
    caller = cli_alone.send("Cart/joe/check_out")
    cli_alone.wait_for(caller, "suspended")
    served.stop()

    cli_alone.out("invocations", "kill", caller)

    rows = cli_alone.sql("select outcome from howdah.invocations")
    assert rows == [("killed",), ("killed",)]
    assert cli_alone.sql("select * from howdah.orders") == []
    assert cli_alone.out("check") == "everything is consistent\n"


def test_stranded_invocations_are_told_at_a_start_and_moved_by_resume(
    cli_alone: Cli, servers: Servers
) -> None:
    old = servers.serve(
        cli_alone.dsn, str(PROGRAM), "--deployment", "old", HOWDAH_INACTIVITY_TIMEOUT="50ms"
    )
    old.wait_until_said("Try next")
    waits, approves = cli_alone.send("Payments/wait"), cli_alone.send("Payments/approve")
    for id_ in (waits, approves):
        cli_alone.wait_for(id_, "suspended")
    assert old.stop() == 0
    cli_alone.out("signal", approves, "approved", '"yes"')

    new = servers.serve(cli_alone.dsn, str(PROGRAM), "--deployment", "new")
    new.wait_until_said("2 invocations wait for deployment old, which no worker serves.")
    new.wait_until_said("howdah invocations resume --deployment latest")
    cli_alone.wait_for(approves, "ready")  # woken, and nobody's
    row = next(
        row for row in cli_alone.out("deployments", "list").splitlines() if row.startswith("old")
    )
    assert row.split()[:5] == ["old", *row.split()[1:3], "0", "2"]
    assert "howdah invocations resume --deployment latest" in cli_alone.out("deployments", "list")
    said = cli_alone.out("invocations", "describe", approves)
    assert f"howdah invocations resume {approves} --deployment latest" in said

    moved = cli_alone.out("invocations", "resume", "--deployment", "latest")

    assert "2 invocations wait for deployment old" in moved
    assert "resumed 2 invocations" in moved
    cli_alone.wait_for(approves, "succeeded")
    cli_alone.wait_for(waits, "suspended")
    assert cli_alone.json("invocations", "describe", waits)["deployment"] == "new"
    again = cli_alone.out("invocations", "resume", "--deployment", "latest")
    assert "No invocation waits for a version" in again


def test_paused_ones_are_moved_when_they_are_named(cli: Cli, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    id_ = cli.send("Payments/break_down", json.dumps(str(flag)))
    cli.wait_for(id_, "paused")
    flag.touch()

    cli.out("invocations", "resume", "--status", "paused", "--service", "Payments", "--yes",
            "--deployment", "latest")  # fmt: skip

    cli.wait_for(id_, "succeeded")
