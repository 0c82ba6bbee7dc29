"""Calls in a scope over HTTP, and the rules of concurrency that operators set."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

RULES = "/limits/rules"
DELETE = "/limits/rules/bulk-delete"
JSON = "application/json"


def put(admin: httpx.Client, *rules: dict[str, Any]) -> httpx.Response:
    return admin.put(RULES, json=list(rules))


def statuses(admin: httpx.Client, scope: str) -> list[str]:
    query = f"select status from sys_invocation where scope = '{scope}' order by status"
    answer = admin.post("/query", json={"query": query}, headers={"accept": JSON})
    return [row["status"] for row in answer.json()["rows"]]


def test_a_call_in_a_scope_is_answered_like_any_other(http: httpx.Client) -> None:
    called = http.post("/restate/scope/shop/call/Echo/double", json=4)
    sent = http.post("/restate/scope/shop/send/Echo/double?limit-key=joe&delay=1ms", json=5)

    assert (called.status_code, called.json()) == (200, 8)
    assert (sent.status_code, sent.json()["status"]) == (202, "Accepted")
    id_ = sent.json()["invocationId"]
    assert http.get(f"/restate/invocation/{id_}/attach").json() == 10


def test_the_handler_sees_the_path_with_its_scope(http: httpx.Client) -> None:
    path = "/restate/scope/shop/call/Echo/headers?limit-key=ignored"

    seen = http.post(path, headers={"x-restate-limit-key": "joe/x"}).json()

    assert seen["x-restate-ingress-path"] == path
    assert seen["x-restate-limit-key"] == "joe/x"


def test_the_same_idempotency_key_in_two_scopes_is_two_invocations(http: httpx.Client) -> None:
    headers = {"idempotency-key": uuid4().hex}
    ids = [
        http.post(path, json=number, headers=headers).json()["invocationId"]
        for path, number in [
            ("/restate/scope/a/send/Echo/double", 1),
            ("/restate/scope/b/send/Echo/double", 2),
            ("/restate/send/Echo/double", 3),
            ("/restate/scope/a/send/Echo/double", 4),
        ]
    ]

    assert ids[0] == ids[3]
    assert len(set(ids)) == 3
    target = {
        "target": "idempotentInvocation", "service": "Echo", "handler": "double",
        "idempotencyKey": headers["idempotency-key"],
    }  # fmt: skip
    for scope, result in [("a", 2), ("b", 4), (None, 6)]:
        answer = http.post("/restate/attach", json={**target, "scope": scope})
        assert answer.json() == result
    looked_up = http.post("/restate/lookup", json={**target, "scope": "b"})
    assert looked_up.json() == {"invocationId": ids[1]}
    for bad in ({"scope": "a b"}, {"scope": "b", "service": "Counter", "key": "k"}):
        assert http.post("/restate/output", json={**target, **bad}).status_code == 400
    assert http.post("/restate/output", json={**target, "scope": "c"}).status_code == 404


def test_a_rule_holds_back_what_exceeds_it(
    http: httpx.Client, admin: httpx.Client, tmp_path: Path
) -> None:
    scope = uuid4().hex
    rule = put(admin, {"pattern": f"{scope}/*", "limits": {"concurrency": 2}}).json()[0]
    assert rule == {
        "pattern": f"{scope}/*", "limits": {"concurrency": 2}, "disabled": False,
        "version": rule["version"],
        "last_modified_millis_since_epoch": rule["last_modified_millis_since_epoch"],
    }  # fmt: skip
    gates = [tmp_path / str(n) for n in range(4)]
    for gate in gates:
        path = f"/restate/scope/{scope}/send/Echo/touch"
        sent = http.post(path, json=str(gate), headers={"x-restate-limit-key": "k"})
        assert sent.status_code == 202

    waiting = ["pending", "pending", "running", "running"]
    while statuses(admin, scope) != waiting:
        assert set(statuses(admin, scope)) <= {"pending", "running"}
    usage = admin.post(
        "/query",
        json={"query": f"select * from sys_user_limits where scope = '{scope}' and l1 = 'k'"},
        headers={"accept": JSON},
    ).json()["rows"]
    assert usage == [
        {
            "partition_key": 0, "scope": scope, "l1": "k", "level": "Level1", "usage": 2,
            "concurrency_limit": 2, "rule_pattern": f"{scope}/*", "available": 0, "num_waiters": 2,
        }
    ]  # fmt: skip
    for gate in gates:
        gate.touch()
    while statuses(admin, scope) != ["completed"] * 4:
        assert statuses(admin, scope).count("running") <= 2


def test_rules_are_changed_with_preconditions_and_deleted(admin: httpx.Client) -> None:
    pattern = uuid4().hex
    new = {"pattern": pattern, "limits": {}, "precondition": {"type": "does_not_exist"}}
    first = put(admin, new).json()[0]
    assert (first["limits"], first["disabled"]) == ({}, False)

    again = put(admin, new)
    assert again.status_code == 409
    assert f"rule '{pattern}' is not as expected" in again.json()["message"].lower()
    matches = {"type": "matches", "version": first["version"]}
    changed = put(
        admin,
        {
            "pattern": pattern, "limits": {"concurrency": 3}, "description": "few",
            "disabled": True, "precondition": matches,
        },
    ).json()[0]  # fmt: skip
    assert changed["version"] > first["version"]
    assert (changed["description"], changed["disabled"]) == ("few", True)
    rules = admin.post(
        "/query",
        json={
            "query": f"select pattern, concurrency, disabled from sys_rules where pattern = '{pattern}'"
        },
        headers={"accept": JSON},
    ).json()["rows"]
    assert rules == [{"pattern": pattern, "concurrency": 3, "disabled": True}]

    stale = admin.post(DELETE, json=[{"pattern": pattern, "expected_version": first["version"]}])
    assert stale.status_code == 409
    removed = admin.post(DELETE, json=[{"pattern": pattern}, {"pattern": "nothing-like-it"}])
    assert (removed.status_code, removed.json()) == (200, [pattern])
    assert admin.post(DELETE, json=[{"pattern": pattern}]).json() == []


@pytest.mark.parametrize(
    ("status", "rules"),
    [
        (400, [{"pattern": "a b", "limits": {}}]),
        (400, [{"pattern": "", "limits": {}}]),
        (400, [{"pattern": "a\0", "limits": {}}]),
        (400, [{"pattern": "a", "limits": {}, "description": "\0"}]),
        (400, [{"pattern": "a", "limits": {"concurrency": -1}}]),
        (400, [{"pattern": "a", "limits": {"concurrency": 2**40}}]),
        (400, [{"pattern": "a", "limits": {}}] * 2),
        (422, [{"pattern": f"s{n}", "limits": {}} for n in range(1001)]),
        (422, [{"pattern": "a"}]),
        (422, {"pattern": "a", "limits": {}}),
        (422, [{"pattern": "a", "limits": {"concurrency": 1.5}}]),
        (422, [{"pattern": "a", "limits": {}, "precondition": {"type": "maybe"}}]),
    ],
)
def test_what_is_no_rule_is_refused(admin: httpx.Client, status: int, rules: Any) -> None:
    answer = admin.put(RULES, json=rules)

    assert answer.status_code == status
    assert answer.json()["message"]
    assert put(admin).json() == []
