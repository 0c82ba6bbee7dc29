"""`whoami`, `services`, `invocations list` and `describe`, and `sql`."""

import json
from uuid import UUID

import httpx

from cli_restate.conftest import Send
from cli_restate.tool import Restate
from howdah.ids import parse_id, restate_id
from support.commands import until
from support.servers import HowdahProcess

V2 = "dp_100000000000000000000v2"


def test_whoami_finds_the_server_healthy(restate: Restate, server: HowdahProcess) -> None:
    said = restate.out("whoami")

    assert f"Admin base URL {server.admin}/" in said
    assert f"[OK]: Admin Service '{server.admin}/' is healthy!" in said
    assert f"Advertised ingress address {server.ingress}/" in said
    assert "WARNING" not in said


def test_a_server_that_is_not_there_is_said(restate: Restate) -> None:
    ran = restate.run("services", "list", RESTATE_ADMIN_URL="http://127.0.0.1:9")

    assert ran.returncode == 1
    assert "Unable to connect to the Restate server" in ran.stdout


def test_services_are_listed_and_described(restate: Restate) -> None:
    listed = restate.out("services", "list").splitlines()
    described = restate.out("services", "describe", "Cart")
    unknown = restate.refused("services", "describe", "Cards")

    assert f"[public] Cart 1 virtual object HTTP {V2}" in listed
    assert f"[public] Orders 1 HTTP {V2}" in listed
    assert "Service type: VirtualObject" in described
    assert f"Deployment ID: {V2}" in described
    assert "Endpoint: howdah://workers/v2" in described
    json_ = "value of content-type 'application/json'"
    assert f"add {json_} {json_}" in described
    assert f"check_out none {json_}" in described
    assert "The requested service 'Cards' does not exist" in unknown


def test_the_status_of_services(restate: Restate, send: Send, key: str) -> None:
    holds = send(f"Cart/{key}/check_out")
    until(lambda: restate.status(holds) == "suspended")
    waits = send(f"Cart/{key}/add", "pear")

    everything = restate.out("services", "status")
    said = restate.out("services", "status", "Cart")

    assert "Cart virtual object" in everything
    row = next(line for line in everything.splitlines() if line.startswith(key))
    assert row == f"{key} 1 {holds} (suspended) check_out"
    assert waits in said
    assert f"Target: Cart/{key}/check_out" in said


def test_invocations_are_listed(restate: Restate, send: Send, key: str) -> None:
    holds = send(f"Cart/{key}/check_out")
    until(lambda: restate.status(holds) == "suspended")
    waits = send(f"Cart/{key}/add", "pear")

    listed = restate.out("invocations", "list", "--service", "Cart", "--key", key)
    pending = restate.out("invocations", "list", "--key", key, "--status", "pending")
    oldest = restate.out("invocations", "list", "--key", key, "--oldest-first", "--limit", "1")

    assert listed.index(waits) < listed.index(holds)
    assert f"Target: Cart/{key}/check_out\nStatus: suspended" in listed
    assert f"Deployment: {V2} [required]" in listed
    assert "Showing 2/2 invocations" in listed
    assert (waits in pending, holds in pending) == (True, False)
    assert (waits in oldest, holds in oldest) == (False, True)


def test_every_filter_of_the_list_is_understood(
    restate: Restate, http: httpx.Client, send: Send, key: str
) -> None:
    done = restate_id(UUID(http.post(f"/Cart/{key}/add", json="pear").headers["x-restate-id"]))
    mine = ["--service", "Cart", "--key", key, "--handler", "add"]

    for filters in (
        ["--all"],
        ["--all", "--deployment", V2],
        ["--all", "--virtual-objects-only"],
        ["--completion-result", "success"],
        ["--status", "completed"],
    ):
        assert done in restate.out("invocations", "list", *mine, *filters), filters
    for filters in (
        [],
        ["--all", "--zombie"],
        ["--all", "--deployment", "dp_100000000000000000000v9"],
        ["--completion-result", "failure"],
        ["--status", "running"],
    ):
        assert "Showing 0/0" in restate.out("invocations", "list", *mine, *filters), filters


def test_an_invocation_is_described_with_its_journal(
    restate: Restate, http: httpx.Client, key: str
) -> None:
    added = http.post(f"/Cart/{key}/add", json="pear")
    id_ = restate_id(UUID(added.headers["x-restate-id"]))
    clear = restate.rows(f"select id from sys_invocation where target = 'Cart/{key}/clear'")[0][
        "id"
    ]

    said = restate.out("invocations", "describe", id_)
    sent = restate.out("invocations", "describe", clear)

    assert f"Target: Cart/{key}/add" in said
    assert "Status: completed with success" in said
    assert f"Deployment: {V2} [required]" in said
    steps = [line.split("] ", 1)[1] for line in said.splitlines() if line.startswith("├──── #")]
    assert steps == [
        "Command: Input",
        "Command: GetEagerState key items",
        "Command: SetState key items",
        "Command: OneWayCall",
        "Command: Output",
    ]
    assert "Status: scheduled" in sent
    assert f"Invoked by: Cart/{key}/add {id_}" in sent


def test_what_an_invocation_waits_for_is_described(restate: Restate, send: Send, key: str) -> None:
    calls = send(f"Cart/{key}/check_out")
    until(lambda: restate.status(calls) == "suspended")
    called = f"select id from sys_invocation where invoked_by_id = '{calls}'"
    (callee,) = restate.rows(called)
    until(lambda: restate.status(callee["id"]) == "suspended")

    said = restate.out("invocations", "describe", calls)
    of_the_callee = restate.out("invocations", "describe", callee["id"])

    assert "Status: suspended" in said
    assert "Command: Call" in said
    assert f"Invoked by: Cart/{key}/check_out {calls}" in of_the_callee
    assert "Command: Run [reserve]" in of_the_callee
    assert "Notification: Run" in of_the_callee


def test_an_invocation_that_is_not_there_is_said(restate: Restate) -> None:
    nobody = "inv_100000000000000000000000000000000"

    assert f"Invocation {nobody} not found!" in restate.refused("invocations", "describe", nobody)


def test_sql_answers_in_every_form(restate: Restate, http: httpx.Client, key: str) -> None:
    added = http.post(f"/Cart/{key}/add", json="pear").headers["x-restate-id"]
    query = f"select id, target from sys_invocation where target = 'Cart/{key}/add'"
    id_ = restate_id(UUID(added))

    table = restate.out("sql", query)
    lines = restate.printed("sql", "--jsonl", query)

    assert table.splitlines()[:2] == ["ID TARGET", f"{id_} Cart/{key}/add"]
    assert "1 rows." in table
    assert json.loads(lines) == {"id": id_, "target": f"Cart/{key}/add"}
    assert restate.rows(query) == [{"id": id_, "target": f"Cart/{key}/add"}]
    assert restate.rows(f"select id from sys_invocation where id = '{added}'") == [{"id": id_}]
    assert str(parse_id(id_)) == added


def test_sql_that_cannot_be_is_said(restate: Restate) -> None:
    assert "No field named nope" in restate.refused("sql", "select nope from state")
    assert "DML not supported" in restate.refused("sql", "delete from state")
    assert "not found" in restate.refused("sql", "select * from nowhere")


def test_what_is_not_there_is_said(restate: Restate) -> None:
    for words in (("subscriptions", "list"), ("kafka-clusters", "list")):
        assert "404 Not Found" in restate.refused(*words)


def test_rules_of_concurrency_are_set_shown_and_deleted(restate: Restate) -> None:
    assert "No rules defined." in restate.out("rules", "list")
    restate.out("rules", "set", "a/*", "--concurrency", "3", "--description", "few", "--yes")
    assert "a/*" in restate.out("rules", "list")
    rule = "select concurrency, description, disabled from sys_rules where pattern = 'a/*'"
    assert restate.rows(rule) == [{"concurrency": 3, "description": "few", "disabled": False}]
    restate.out("rules", "set", "a/*", "--concurrency", "5", "--yes")
    assert restate.rows(rule)[0] == {"concurrency": 5, "description": "few", "disabled": False}
    restate.out("rules", "disable", "a/*", "--yes")
    assert restate.rows(rule)[0]["disabled"] is True
    restate.out("rules", "enable", "a/*", "--yes")
    assert restate.rows(rule)[0]["disabled"] is False
    restate.out("rules", "delete", "a/*", "--yes")
    assert restate.rows(rule) == []


def test_there_are_no_virtual_queues(restate: Restate) -> None:
    assert "No virtual queues found." in restate.out("vqueues", "list")
