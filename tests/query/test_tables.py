"""The views of the schema restate, over a history that holds one invocation of every status."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from howdah.ids import restate_deployment_id, restate_id
from howdah_api.query.catalog import TABLES, Column
from support import histories
from support.histories import (
    ANN,
    ANN_NEXT,
    ATTACHED,
    FAILED,
    JOE,
    PAUSED,
    READY,
    RUNNING,
    SEAT_2B,
    SEAT_3A,
    SLEEPING,
    UNRESERVE,
    Database,
)

POSTGRES_TYPES = {
    "utf8": {"text"},
    "u32": {"integer"},
    "u64": {"bigint"},
    "bool": {"boolean"},
    "ts": {"timestamp with time zone"},
    "duration": {"interval"},
    "binary": {"bytea"},
    "list_u32": {"integer[]"},
    "list_utf8": {"text[]"},
}


V1 = restate_deployment_id("v1")


@pytest.fixture
async def history(db: Database) -> Database:
    await histories.write_history(db)
    return db


async def _row(db: Database, table: str, invocation_id: UUID) -> dict[str, Any]:
    row = await db.fetchrow(f"select * from restate.{table} where id_uuid = $1", invocation_id)
    assert row is not None
    return dict(row)


async def test_the_views_are_the_tables_that_queries_know(db: Database) -> None:
    rows = await db.fetch(
        """
        select c.relname, a.attname, format_type(a.atttypid, null)
          from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = 'restate'::regnamespace and c.relkind = 'v' and a.attnum > 0
         order by 1, a.attnum"""
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for table, name, type_ in rows:
        found.setdefault(table, []).append((name, type_))

    assert found.keys() == TABLES.keys()
    for table, columns in TABLES.items():
        extra = {name for name, _ in found[table]} - {column.name for column in columns}
        assert extra <= {"id_uuid", "invoked_by_uuid", "place"}, table
        shown = [(name, type_) for name, type_ in found[table] if name not in extra]
        assert [name for name, _ in shown] == [column.name for column in columns], table
        for column, (_, type_) in zip(columns, shown, strict=True):
            assert type_ in POSTGRES_TYPES[column.kind or ""], f"{table}.{column.name}"
        assert beside(columns) <= extra, table


def beside(columns: tuple[Column, ...]) -> set[str]:
    """The columns that the translation reads though nobody asked for them."""
    names = {column.uuid for column in columns if column.uuid}
    return names | {"place" for column in columns if column.places}


async def test_every_view_is_described(db: Database) -> None:
    missing = await db.fetch(
        """
        select c.relname from pg_class c
         where c.relnamespace = 'restate'::regnamespace and c.relkind = 'v'
           and obj_description(c.oid, 'pg_class') is null"""
    )

    assert missing == []


async def test_statuses_are_words_of_restate(history: Database) -> None:
    rows = await history.fetch(
        """
        select i.id_uuid, i.status, s.status from restate.sys_invocation i
          join restate.sys_invocation_status s on s.id = i.id"""
    )
    found = {row[0]: (row[1], row[2]) for row in rows}

    assert len(found) == 20
    expected = {
        UNRESERVE: ("scheduled", "scheduled"),
        ANN_NEXT: ("pending", "inboxed"),
        READY: ("ready", "invoked"),
        RUNNING: ("running", "invoked"),
        SEAT_3A: ("backing-off", "invoked"),
        SLEEPING: ("suspended", "suspended"),
        PAUSED: ("paused", "paused"),
        JOE: ("completed", "completed"),
    }
    assert {key: found[key] for key in expected} == expected


async def test_statuses_are_the_same_in_the_catalogue(history: Database) -> None:
    for table in ("sys_invocation", "sys_invocation_status"):
        (status,) = (column for column in TABLES[table] if column.name == "status")
        assert status.places is not None
        rows = await history.fetch(f"select distinct status, place from restate.{table}")
        for row in rows:
            assert row["place"] in status.places[row["status"]]


async def test_a_completed_invocation(history: Database) -> None:
    row = await _row(history, "sys_invocation", JOE)

    assert (row["target"], row["target_service_ty"]) == (
        "CartObject/joe/addTicket",
        "virtual_object",
    )
    assert (row["completion_result"], row["completion_failure"]) == ("success", None)
    assert (row["invoked_by"], row["invoked_by_id"]) == ("ingress", None)
    assert (row["journal_size"], row["journal_commands_size"]) == (6, 5)
    assert row["pinned_deployment_id"] == V1
    assert row["running_at"] < row["completed_at"] == row["modified_at"]
    assert row["completion_retention"].days == row["journal_retention"].days == 1
    assert (row["retry_count"], row["in_flight"]) == (None, None)


async def test_a_callee_and_a_failure(history: Database) -> None:
    callee = await _row(history, "sys_invocation", SEAT_2B)
    failed = await _row(history, "sys_invocation_status", FAILED)

    assert (callee["invoked_by"], callee["invoked_by_id"]) == ("service", restate_id(JOE))
    assert callee["invoked_by_target"] == "CartObject/joe/addTicket"
    assert callee["invoked_by_service_name"] == "CartObject"
    assert failed["completion_result"] == "failure"
    assert failed["completion_failure"] == "[400] no address"


async def test_attempts(history: Database) -> None:
    running = await _row(history, "sys_invocation", RUNNING)
    backing_off = await _row(history, "sys_invocation", SEAT_3A)
    ids = await history.fetch("select id_uuid from restate.sys_invocation_state")

    assert (running["in_flight"], running["retry_count"]) == (True, 1)
    assert running["last_attempt_server"] == "howdah/0.1.0"
    assert running["last_start_at"] is not None
    assert (backing_off["in_flight"], backing_off["retry_count"]) == (False, 2)
    assert backing_off["next_retry_at"] is not None
    assert backing_off["last_failure"] == "[500] OSError: timed out"
    assert backing_off["last_failure_related_command_name"] == "reserve"
    assert (await _row(history, "sys_invocation", PAUSED))["last_failure_error_code"] == "HD2001"
    assert {row[0] for row in ids} >= {RUNNING, SEAT_3A}
    assert PAUSED not in {row[0] for row in ids}


async def test_what_a_suspended_invocation_waits_for(history: Database) -> None:
    row = await _row(history, "sys_invocation", ANN)

    assert row["suspended_waiting_for_completions"] == [1]
    assert row["suspended_waiting_for_signals"] == [1]
    assert json.loads(row["suspended_waiting_future_json"]) == {
        "Unknown": [{"Single": {"CompletionId": 1}}, {"Single": {"SignalIndex": 1}}]
    }


async def test_signals_that_a_suspended_invocation_waits_for(history: Database) -> None:
    await history.execute(
        "update howdah_core.live set wait_note = 'signal go',"
        "  wait_ids = array[2, -18, howdah_core.signal_cid('go')] where id = $1",
        ANN,
    )

    row = await _row(history, "sys_invocation_status", ANN)

    assert row["suspended_waiting_for_signals"] == [1, 18]
    assert json.loads(row["suspended_waiting_future_json"])["Unknown"] == [
        {"Single": {"CompletionId": 2}},
        {"Single": {"SignalIndex": 1}},
        {"Single": {"SignalIndex": 18}},
        {"Single": {"SignalName": "go"}},
    ]


async def _journal(db: Database, invocation_id: UUID) -> list[tuple[str, str | None, Any]]:
    rows = await db.fetch(
        "select * from restate.sys_journal where id_uuid = $1 order by index", invocation_id
    )
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert {row["version"] for row in rows} <= {2}
    return [(row["entry_type"], row["name"], json.loads(row["entry_json"])) for row in rows]


async def test_a_journal_in_entries_of_restate(history: Database) -> None:
    entries = await _journal(history, JOE)

    assert [entry[0] for entry in entries] == [
        "Command: Input",
        "Command: GetEagerState",
        "Command: Call",
        "Notification: Call",
        "Command: SetState",
        "Command: Output",
    ]
    assert [entry[1] for entry in entries] == ["", "", "", None, "", ""]
    assert entries[0][2] == {
        "Command": {
            "Input": {
                "headers": [{"name": "x-trace", "value": "7"}],
                "name": "",
                "payload": list(b'"seat2B"'),
            }
        }
    }
    assert entries[1][2]["Command"]["GetEagerState"]["result"] == "Void"
    call = entries[2][2]["Command"]["Call"]
    assert call["result_completion_id"] == 1
    assert call["request"]["invocation_id"] == restate_id(SEAT_2B)
    assert call["request"]["invocation_target"] == {
        "VirtualObject": {
            "name": "TicketObject",
            "key": "seat2B",
            "handler": "reserve",
            "handler_ty": "Exclusive",
        }
    }
    assert entries[3][2] == {
        "Notification": {
            "Completion": {"Call": {"completion_id": 1, "result": {"Success": list(b"true")}}}
        }
    }
    assert entries[4][2]["Command"]["SetState"]["value"] == list(b'["seat2B"]')
    assert entries[5][2]["Command"]["Output"]["result"] == {"Success": list(b"true")}


async def test_steps_and_failures_in_a_journal(history: Database) -> None:
    _, run, ran, output = await _journal(history, FAILED)

    assert run == (
        "Command: Run",
        "smtp",
        {"Command": {"Run": {"completion_id": 1, "name": "smtp"}}},
    )
    failure = {"Failure": {"code": 400, "message": "no address"}}
    assert ran[2] == {
        "Notification": {"Completion": {"Run": {"completion_id": 1, "result": failure}}}
    }
    assert output[2]["Command"]["Output"]["result"] == failure


async def test_a_call_with_an_idempotency_key_has_the_callees_id(history: Database) -> None:
    _, call, callee = await _journal(history, ATTACHED)

    assert call[2]["Command"]["Call"]["invocation_id_completion_id"] == 2
    assert callee == (
        "Notification: CallInvocationId",
        None,
        {
            "Notification": {
                "Completion": {
                    "CallInvocationId": {"completion_id": 2, "invocation_id": restate_id(ANN)}
                }
            }
        },
    )


# kind, cid, name, value, detail, and what its JSON is.
ENTRIES: list[tuple[int, int | None, str | None, bytes | None, str | None, str, Any]] = [
    (4, 1, "nap", None, '{"at_ms": 5}', "Command: Sleep",
     {"Command": {"Sleep": {"wake_up_time": 5, "completion_id": 1, "name": "nap"}}}),
    (6, None, "S/h", b"", '{"at_ms": 9, "id_cid": 3, "label": "x"}', "Command: OneWayCall", None),
    (8, None, None, b'["a"]', None, "Command: GetEagerStateKeys",
     {"Command": {"GetEagerStateKeys": {"state_keys": ["a"], "name": ""}}}),
    (10, None, "k", None, None, "Command: ClearState", {"Command": {"ClearState": {"key": "k", "name": ""}}}),
    (11, None, None, None, None, "Command: ClearAllState", {"Command": {"ClearAllState": {"name": ""}}}),
    (12, 4, "k", None, None, "Command: GetLazyState",
     {"Command": {"GetLazyState": {"key": "k", "completion_id": 4, "name": ""}}}),
    (13, 4, None, None, None, "Command: GetLazyStateKeys",
     {"Command": {"GetLazyStateKeys": {"completion_id": 4, "name": ""}}}),
    (14, 1, "p", None, None, "Command: GetPromise",
     {"Command": {"GetPromise": {"key": "p", "completion_id": 1, "name": ""}}}),
    (15, 1, "p", None, None, "Command: PeekPromise",
     {"Command": {"PeekPromise": {"key": "p", "completion_id": 1, "name": ""}}}),
    (16, 1, "p", b"1", None, "Command: CompletePromise",
     {"Command": {"CompletePromise": {"key": "p", "completion_id": 1, "name": "", "value": {"Success": [49]}}}}),
    (17, None, "cancel", None, '{"target": "t"}', "Command: SendSignal",
     {"Command": {"SendSignal": {"target_invocation_id": "t", "signal_id": {"Index": 1}, "result": "Void", "name": ""}}}),
    (17, None, "go", b"1", '{"target": "t"}', "Command: SendSignal",
     {"Command": {"SendSignal": {"target_invocation_id": "t", "signal_id": {"Name": "go"}, "result": {"Success": [49]}, "name": ""}}}),
    (18, 1, "an id", None, None, "Command: AttachInvocation",
     {"Command": {"AttachInvocation": {"target": {"InvocationId": "an id"}, "completion_id": 1, "name": ""}}}),
    (19, 1, "W/k", None, '{"workflow": ["W", "k"]}', "Command: GetInvocationOutput", None),
    (20, None, "sign_1x", None, '{"code": 500, "message": "no"}', "Command: CompleteAwakeable",
     {"Command": {"CompleteAwakeable": {"id": "sign_1x", "result": {"Failure": {"code": 500, "message": "no"}}, "name": ""}}}),
    (104, 1, None, None, None, "Notification: Sleep", {"Notification": {"Completion": {"Sleep": {"completion_id": 1}}}}),
    (112, 1, None, None, None, "Notification: GetLazyState",
     {"Notification": {"Completion": {"GetLazyState": {"completion_id": 1, "result": "Void"}}}}),
    (113, 1, None, b'["a"]', None, "Notification: GetLazyStateKeys",
     {"Notification": {"Completion": {"GetLazyStateKeys": {"completion_id": 1, "state_keys": ["a"]}}}}),
    (116, 1, None, None, None, "Notification: CompletePromise",
     {"Notification": {"Completion": {"CompletePromise": {"completion_id": 1, "result": "Void"}}}}),
    (118, 1, None, b"", None, "Notification: AttachInvocation",
     {"Notification": {"Completion": {"AttachInvocation": {"completion_id": 1, "result": {"Success": []}}}}}),
    (150, -1, None, None, None, "Notification: Signal",
     {"Notification": {"Signal": {"id": {"Index": 1}, "result": "Void"}}}),
    (150, -17, None, None, '{"code": 500, "message": "no"}', "Notification: Signal",
     {"Notification": {"Signal": {"id": {"Index": 17}, "result": {"Failure": {"code": 500, "message": "no"}}}}}),
    (150, -300000000, "go", b"\x00\xff", None, "Notification: Signal",
     {"Notification": {"Signal": {"id": {"Name": "go"}, "result": {"Success": [0, 255]}}}}),
]  # fmt: skip


async def test_every_kind_of_entry_has_its_shape(history: Database) -> None:
    await history.execute("delete from howdah_core.journal where id = $1", READY)
    await history.executemany(
        "insert into howdah_core.journal (id, idx, kind, cid, name, value, detail, at)"
        " values ($1, $2, $3, $4, $5, $6, $7, now())",
        [(READY, number, *entry[:5]) for number, entry in enumerate(ENTRIES, 1)],
    )

    _, *found = await _journal(history, READY)

    for entry, (entry_type, _, shown) in zip(ENTRIES, found, strict=True):
        assert entry_type == entry[5]
        if entry[6] is not None:
            assert shown == entry[6]
    sent = found[1][2]["Command"]["OneWayCall"]
    assert (sent["invoke_time"], sent["invocation_id_completion_id"], sent["name"]) == (9, 3, "x")
    assert found[13][2]["Command"]["GetInvocationOutput"]["target"] == {
        "Workflow": {"service_name": "W", "key": "k"}
    }
    lite = await history.fetch(
        "select entry_lite_json from restate.sys_journal where id_uuid = $1", READY
    )
    assert all(json.loads(row[0]) for row in lite)


async def test_a_large_payload_is_not_written_out(history: Database) -> None:
    await history.execute(
        "update howdah_core.journal set value = convert_to(repeat('x', 200000), 'UTF8')"
        " where id = $1 and kind = 2",
        JOE,
    )

    row = await history.fetchrow(
        "select * from restate.sys_journal where id_uuid = $1 and index = 5", JOE
    )

    assert row is not None
    assert (row["entry_json"], row["raw_length"]) == (None, 200000)
    assert json.loads(row["entry_lite_json"]) == {"Command": {"Output": {"result": "Success"}}}


async def test_a_purged_journal_is_gone(history: Database) -> None:
    await history.fetchval("select howdah.purge_journal($1)", JOE)

    assert await _journal(history, JOE) == []


async def test_events(history: Database) -> None:
    rows = await history.fetch(
        "select * from restate.sys_journal_events where id_uuid = any ($1) order by appended_at",
        [SEAT_3A, PAUSED, SLEEPING],
    )
    found = [(row["id_uuid"], json.loads(row["event_json"])) for row in rows]

    assert [event["ty"] for id_, event in found if id_ == SEAT_3A] == ["TransientError"] * 2
    assert sorted(event["ty"] for id_, event in found if id_ == PAUSED) == [
        "Paused",
        "TransientError",
    ]
    assert [event for id_, event in found if id_ == SLEEPING] == [{"ty": "Suspended"}]
    assert found[0][1] == {
        "ty": "TransientError",
        "error_code": 500,
        "error_message": "OSError: no route",
        "error_stacktrace": "Traceback …",
        "related_command_name": "reserve",
    }


async def test_keys_and_state(history: Database) -> None:
    inbox = await history.fetchrow("select * from restate.sys_inbox")
    held = await history.fetch(
        "select * from restate.sys_keyed_service_status order by service_key"
    )
    locks = await history.fetch("select lock_name, acquired_by from restate.sys_locks order by 1")
    state = await history.fetchrow("select * from restate.state where service_key = 'joe'")

    assert inbox is not None
    assert (inbox["id"], inbox["sequence_number"]) == (restate_id(ANN_NEXT), 2)
    assert [(row["service_key"], row["invocation_id"]) for row in held] == [
        ("ann", restate_id(ANN)),
        ("seat3A", restate_id(SEAT_3A)),
    ]
    assert [tuple(row) for row in locks] == [
        ("CartObject/ann", restate_id(ANN)),
        ("TicketObject/seat3A", restate_id(SEAT_3A)),
    ]
    assert state is not None
    assert (state["key"], state["value"], state["value_utf8"]) == (
        "cart",
        b'["seat2B"]',
        '["seat2B"]',
    )
    assert (state["key_length"], state["value_length"]) == (4, 10)


async def test_a_value_that_is_no_text(history: Database) -> None:
    await history.execute("update howdah_core.state set value = '\\xff00'")

    rows = await history.fetch("select value_utf8, value from restate.state")

    assert {tuple(row) for row in rows} == {(None, b"\xff\x00")}


async def test_promises(history: Database) -> None:
    await history.execute(
        """
        insert into howdah_core.promise (service, key, name, value, detail, completed_at)
        values (1, 'k', 'pending', null, null, null), (1, 'k', 'kept', '1', null, now()),
               (1, 'k', 'broken', null, '{"code": 409, "message": "no"}', now())"""
    )

    rows = await history.fetch(
        "select key, completed, completion_success_value_utf8, completion_failure"
        " from restate.sys_promise order by key"
    )

    assert [tuple(row) for row in rows] == [
        ("broken", True, None, "[409] no"),
        ("kept", True, "1", None),
        ("pending", False, None, None),
    ]


async def test_services_and_deployments(history: Database) -> None:
    services = await history.fetch("select * from restate.sys_service order by name")
    (deployment,) = await history.fetch("select * from restate.sys_deployment")

    assert [(row["name"], row["ty"], row["public"], row["deployment_id"]) for row in services] == [
        ("CartObject", "virtual_object", True, V1),
        ("Mailer", "service", True, V1),
        ("TicketObject", "virtual_object", True, V1),
    ]
    assert deployment["endpoint"] == "howdah://workers/v1"
    assert (deployment["id"], deployment["ty"]) == (V1, "http")
    assert deployment["services"] == ["CartObject", "Mailer", "TicketObject"]


async def test_ids_are_written_as_the_engine_writes_them(db: Database) -> None:
    ids = [UUID(int=0), UUID(int=2**128 - 1), JOE, *(uuid4() for _ in range(100))]
    names = [
        "v2",
        "2",
        "02",
        "b8fe79a083bb6299",
        "dp_1",
        "dp_176vEwLyDQ2xbTjeLVmqiHv",
        "a b",
        "ä" * 9,
    ]
    names += ["a" * 21, "a" * 22, "dp_1" + "Z" * 22]

    written = await db.fetch("select howdah_core.restate_id(u) from unnest($1::uuid[]) u", ids)
    texts = ["", "joe", "inv_1", str(JOE), str(JOE).upper(), restate_id(JOE)]
    read = await db.fetch("select howdah_core.restate_id(t) from unnest($1::text[]) t", texts)
    deployments = await db.fetch(
        "select howdah_core.restate_deployment_id(n) from unnest($1::text[]) n", names
    )

    assert [row[0] for row in written] == [restate_id(one) for one in ids]
    assert [row[0] for row in read] == ["", "joe", "inv_1", *(restate_id(JOE),) * 3]
    assert [row[0] for row in deployments] == [restate_deployment_id(name) for name in names]


@pytest.mark.parametrize("name", ["v2", "a b", "dp_176vEwLyDQ2xbTjeLVmqiHv"])
async def test_a_deployment_is_named_by_its_name_or_id(db: Database, name: str) -> None:
    asked = [name, restate_deployment_id(name), "v1", restate_deployment_id("v1"), "", "dp_1", "%"]

    answers = await db.fetch(
        "select howdah_core.is_deployment($1, t) from unnest($2::text[]) t", name, asked
    )

    assert [row[0] for row in answers] == [True, True, False, False, False, False, False]
