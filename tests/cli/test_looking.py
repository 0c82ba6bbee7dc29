"""Looking: what there is, and everything about one of them."""

import json
import re
from pathlib import Path
from uuid import UUID, uuid4

from howdah.ids import restate_id
from support.commands import Cli

NOBODY = "0192f0c1-2b3c-7d4e-8f50-617283940a1b"


def test_list_shows_what_is_not_completed_and_what_it_waits_for(cli: Cli) -> None:
    done = cli.send("Payments/charge", "7")
    waits = cli.send("Payments/wait")
    cli.wait_for(done, "succeeded")
    cli.wait_for(waits, "suspended")

    listed = cli.out("invocations", "list")

    heads, *rows = listed.splitlines()
    assert heads.split()[:5] == ["ID", "TARGET", "STATUS", "CREATED", "ATTEMPTS"]
    assert done not in listed
    row = next(row for row in rows if row.startswith(waits))
    assert "Payments/wait" in row
    assert "suspended" in row
    assert "(cool down)" in row
    assert all(row.index("Payments") == heads.index("TARGET") for row in rows if "Payments" in row)


def test_list_all_shows_outcomes_and_failures(cli: Cli) -> None:
    declined = cli.send("Payments/decline")
    cli.wait_for(declined, "failed")

    row = next(
        row for row in cli.out("invocations", "list", "--all").splitlines() if declined in row
    )

    assert "failed" in row
    assert "[402] no money" in row


def test_list_narrows_down_by_status_service_handler_key_and_limit(cli: Cli) -> None:
    key = uuid4().hex
    ids = [cli.send(f"Cart/{key}/add", '"seat"') for _ in range(3)]
    for id_ in ids:
        cli.wait_for(id_, "succeeded")
    arguments = ["invocations", "list", "--service", "Cart", "--key", key]

    assert cli.json(*arguments) == []
    found = cli.json(*arguments, "--status", "succeeded", "--handler", "add")
    assert [row["id"] for row in found] == sorted(ids, reverse=True)
    assert {row["target"] for row in found} == {f"Cart/{key}/add"}
    assert cli.json(*arguments, "--status", "failed", "--status", "paused") == []
    limited = cli.out(*arguments, "--all", "--limit", "2")
    assert "1 older one left out" in limited


def test_list_says_when_there_is_nothing_and_what_to_try(cli: Cli) -> None:
    assert "--all" in cli.out("invocations", "list", "--service", "Cart", "--key", uuid4().hex)


def test_a_service_and_a_handler_that_are_not_there_are_answered_with_suggestions(
    cli: Cli,
) -> None:
    assert "Did you mean Payments?" in cli.refused("invocations", "list", "--service", "Payment")
    said = cli.refused("invocations", "list", "--service", "Payments", "--handler", "chrage")
    assert "Did you mean charge?" in said
    assert "--service" in cli.refused("invocations", "list", "--handler", "charge", code=2)


def test_describe_shows_facts_journal_and_result(cli: Cli) -> None:
    id_ = cli.send("Payments/charge", "7", "--idempotency-key", uuid4().hex)
    cli.wait_for(id_, "succeeded")

    said = cli.out("invocations", "describe", id_)

    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert lines[0] == "Payments/charge"
    assert f"id {id_}" in lines
    assert "status succeeded" in lines
    assert "deployment v1" in lines
    assert "input 7" in lines
    assert "output 7" in lines
    assert "Journal (4 entries)" in lines
    head = next(line for line in lines if line.startswith("# ENTRY"))
    assert head == "# ENTRY NAME AT TOOK VALUE"
    step = next(line for line in lines if line.startswith("1 run ask the bank"))
    assert " ms " in step or " s " in step
    assert any(line.startswith("2 run completed ask the bank") for line in lines)
    assert f"howdah invocations restart {id_} begins it again, under a new id" in lines


def test_an_id_may_have_the_form_of_other_tools(cli: Cli) -> None:
    done = cli.send("Payments/charge", "7")
    cli.wait_for(done, "succeeded")

    found = cli.json("invocations", "describe", restate_id(UUID(done)))

    assert found["id"] == done


def test_describe_shows_what_it_waits_for_and_who_holds_the_key(cli: Cli, tmp_path: Path) -> None:
    key, flag = uuid4().hex, tmp_path / "flag"
    holder = cli.send(f"Cart/{key}/hold", json.dumps(str(flag)))
    cli.wait_for(holder, "running")
    behind = cli.send(f"Cart/{key}/add", '"seat"')
    cli.wait_for(behind, "inbox")

    said = cli.out("invocations", "describe", behind)
    held = cli.out("invocations", "describe", holder)
    flag.touch()

    assert f"held by {holder}" in said
    assert f"{key}, which it holds, 1 behind it" in held
    cli.wait_for(behind, "succeeded")


def test_describe_shows_failed_attempts_and_how_to_go_on(cli: Cli, tmp_path: Path) -> None:
    id_ = cli.send("Payments/break_down", json.dumps(str(tmp_path / "never")))
    cli.wait_for(id_, "paused")

    said = cli.out("invocations", "describe", id_)

    assert "Failed attempts" in said
    assert said.count("ValueError: the till is stuck") == 2
    assert f"howdah invocations resume {id_}" in said
    cli.out("invocations", "kill", id_)


def test_describe_says_how_to_give_it_what_it_waits_for(cli: Cli, tmp_path: Path) -> None:
    approved = cli.send("Payments/approve")
    confirmed = cli.send("Payments/confirm", f'"{tmp_path}/id"')
    for id_ in (approved, confirmed):
        cli.wait_for(id_, "suspended")

    assert f"howdah signal {approved} approved JSON" in cli.out("invocations", "describe", approved)
    said = cli.out("invocations", "describe", confirmed)
    assert re.search(r"^  howdah awakeables resolve sign_1\S+ JSON  ", said, re.M), said
    cli.out("invocations", "kill", approved, confirmed)


def test_describe_as_json_has_journal_waits_and_failures(cli: Cli) -> None:
    id_ = cli.send("Payments/wait")
    cli.wait_for(id_, "suspended")

    found = cli.json("invocations", "describe", id_)

    assert (found["id"], found["status"], found["deployment"]) == (id_, "suspended", "v1")
    assert [entry["type"] for entry in found["journal"]] == ["input", "sleep"]
    assert [(wait["type"], wait["name"]) for wait in found["waits"]] == [("sleep", "cool down")]
    assert found["failures"] == []


def test_describe_says_what_is_wrong_with_an_id(cli: Cli) -> None:
    assert "There is no invocation" in cli.refused("invocations", "describe", NOBODY)
    ran = cli.run("invocations", "describe", "nonsense")
    assert ran.returncode == 2
    assert "'nonsense' is not an invocation id" in ran.stderr


def test_what_could_steer_the_terminal_is_replaced(cli: Cli) -> None:
    key = "\x1b[31mred"
    id_ = cli.send("Cart/%1B%5B31mred/add", '"\\u001b[2J"')
    cli.wait_for(id_, "succeeded")

    said = cli.out("invocations", "describe", id_) + cli.out("invocations", "list", "--all")

    assert "\x1b" not in said
    assert cli.json("invocations", "describe", id_)["key"] == key


def test_services_are_listed_and_described(cli: Cli) -> None:
    listed = cli.out("services", "list")

    rows = {row.split()[0]: row.split() for row in listed.splitlines()[1:]}
    assert rows["Cart"][:5] == ["Cart", "object", "4", "1", "v1"]
    assert rows["Payments"][5:] == ["Takes", "money."]

    said = cli.out("services", "describe", "Payments")
    assert "Payments (service)" in said
    assert "And gives it back." in said
    row = next(row for row in said.splitlines() if row.startswith("charge "))
    assert "application/json" in row
    assert "Charge a card." in row
    assert cli.json("services", "describe", "Signup")["kind"] == "workflow"
    assert "Did you mean Cart?" in cli.refused("services", "describe", "Crat")


def test_deployments_are_listed(cli: Cli) -> None:
    waits = cli.send("Payments/wait")
    cli.wait_for(waits, "suspended")

    (row,) = cli.json("deployments", "list")

    assert (row["name"], row["services"], row["workers"], row["stranded"]) == (
        "v1",
        ["Cart", "Payments", "Signup"],
        1,
        0,
    )
    assert row["in_flight"] >= 1
    line = cli.out("deployments", "list").splitlines()[1]
    assert line.split()[-4:] == ["all", "Cart,", "Payments,", "Signup"]
