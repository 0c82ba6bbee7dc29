"""The views, over a history that holds one invocation of every status."""

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from support import histories
from support.histories import (
    ANN,
    ANN_NEXT,
    ATTACHED,
    FAILED,
    GATHERED,
    GATHERS,
    JOE,
    PAUSED,
    RACES,
    READY,
    RUNNING,
    SEAT_2B,
    SEAT_3A,
    SLEEPING,
    SUE_2,
    UNRESERVE,
    Database,
)

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00"


@pytest.fixture
async def history(db: Database) -> Database:
    await db.execute("set timezone = 'UTC'")
    await histories.write_history(db)
    return db


async def _invocation(db: Database, invocation_id: UUID) -> asyncpg.Record:
    row: asyncpg.Record | None = await db.fetchrow(
        "select * from howdah.invocations where id = $1", invocation_id
    )
    assert row is not None
    return row


async def test_every_status_is_shown_with_what_it_waits_for(history: Database) -> None:
    rows = await history.fetch("select id, status, waiting_for from howdah.invocations")
    found = {row["id"]: (row["status"], row["waiting_for"]) for row in rows}

    assert len(found) == len(rows)
    words = {
        JOE: ("completed", None),
        RUNNING: ("running", None),
        READY: ("ready", "a free worker"),
        PAUSED: ("paused", "an operator"),
        ANN_NEXT: ("inbox", f"key ann held by {ANN}"),
        ANN: ("suspended", f"call TicketObject/seat3A/reserve ({SEAT_3A})"),
        ATTACHED: ("suspended", f"call CartObject/ann/addTicket ({ANN})"),
        GATHERS: (
            "suspended",
            f"2 of 3 calls: Mailer/send ({GATHERED[1]}), Mailer/send ({GATHERED[2]})",
        ),
    }
    assert {key: found[key] for key in words} == words
    for key, status, pattern in (
        (UNRESERVE, "scheduled", f"start at {TIME}"),
        (SEAT_3A, "backing_off", f"retry at {TIME}"),
        (SLEEPING, "suspended", rf"sleep until {TIME} \(tomorrow\)"),
        (RACES, "suspended", rf"one of 2: call Mailer/send \(.*\), sleep until {TIME}"),
    ):
        assert found[key][0] == status
        assert re.fullmatch(pattern, str(found[key][1])), found[key]


async def test_a_long_wait_is_cut_short_in_words(history: Database) -> None:
    await history.execute(
        "delete from howdah_core.mailbox;"
        "select history.entry(12, 4, 5, 10.1, 4, 'Mailer/send', '4', 22);"
        "update howdah_core.live set wait_ids = '{1,2,3,4}', wait_all = false"
        f" where id = '{GATHERS}'"
    )

    words = (await _invocation(history, GATHERS))["waiting_for"]

    assert words.startswith("one of 4 calls: Mailer/send (")
    assert words.count("Mailer/send") == 3
    assert words.endswith(", …")


async def test_a_suspended_invocation_without_a_named_wait_waits_for_mail(
    history: Database,
) -> None:
    await history.execute("update howdah_core.live set wait_ids = null where id = $1", ANN)

    assert (await _invocation(history, ANN))["waiting_for"] == "mail"


async def test_a_completed_invocation_shows_its_facts(history: Database) -> None:
    row = await _invocation(history, JOE)

    assert row["target"] == "CartObject/joe/addTicket"
    assert (row["service"], row["key"], row["handler"]) == ("CartObject", "joe", "addTicket")
    assert (row["status"], row["outcome"], row["attempts"]) == ("completed", "succeeded", 1)
    assert (row["input"], row["input_json"]) == ('"seat2B"', '"seat2B"')
    assert (row["output"], row["output_json"]) == ("true", "true")
    assert (row["invoked_by"], row["parent_id"]) == ("ingress", None)
    assert (row["idempotency_key"], row["headers"]) == ("joe-1", '[["x-trace", "7"]]')
    assert (row["worker"], row["deployment"], row["journal_length"]) == (1, "v1", 6)
    assert row["created_at"] < row["started_at"] < row["completed_at"] == row["modified_at"]
    assert row["expires_at"] - row["completed_at"] == timedelta(days=1)
    assert (row["failure"], row["last_failure"], row["next_retry_at"]) == (None, None, None)


async def test_a_callee_names_its_caller_and_a_failure_its_code(history: Database) -> None:
    callee = await _invocation(history, SEAT_2B)
    failed = await _invocation(history, FAILED)
    retried = await _invocation(history, SEAT_3A)
    delayed = await _invocation(history, UNRESERVE)

    assert (callee["invoked_by"], callee["parent_id"]) == ("service", JOE)
    assert (failed["outcome"], failed["failure"]) == ("failed", "[400] no address")
    assert (failed["failure_code"], failed["output"]) == (400, "")
    assert retried["last_failure"] == "[500] OSError: timed out"
    assert retried["next_retry_at"] is not None
    assert delayed["scheduled_at"] - delayed["created_at"] == timedelta(hours=2)
    assert (delayed["started_at"], delayed["attempts"], delayed["deployment"]) == (None, 0, None)


async def test_a_journal_reads_as_what_happened(history: Database) -> None:
    rows = await history.fetch(
        """
        select index, type, name, target, value, callee_id, completed_by, completes, duration
          from howdah.journal where invocation_id = $1 order by index
        """,
        JOE,
    )

    reserve = "TicketObject/seat2B/reserve"
    moment = timedelta(milliseconds=400)
    assert [tuple(row) for row in rows] == [
        (0, "input", None, "CartObject/joe/addTicket", '"seat2B"', None, None, None, None),
        (1, "get state", "cart", None, None, None, None, None, None),
        (2, "call", None, reserve, "", SEAT_2B, 3, None, moment),
        (3, "call completed", None, reserve, "true", None, None, 2, None),
        (4, "set state", "cart", None, '["seat2B"]', None, None, None, None),
        (5, "output", None, None, "true", None, None, None, None),
    ]


async def test_steps_sleeps_and_sends_show_names_failures_and_times(history: Database) -> None:
    steps = await history.fetch(
        "select type, name, value_json, failure, completed_by from howdah.journal"
        " where invocation_id = any ($1) and index > 0 order by invocation_id, index",
        [RUNNING, FAILED],
    )
    due = await history.fetch(
        "select type, due_at - appended_at as delay, name, target, callee_id from howdah.journal"
        " where due_at is not null order by invocation_id, index"
    )
    found = await history.fetch(
        "select type, target, callee_id, completed_by, completes from howdah.journal"
        " where invocation_id = $1 and index > 0 order by index",
        ATTACHED,
    )

    assert [tuple(row) for row in steps] == [
        ("run", "render", None, None, 2),
        ("run completed", "render", '"Dear Joe"', None, None),
        ("run", "smtp", None, None, None),
        ("run", "smtp", None, None, 2),
        ("run completed", "smtp", None, "[400] no address", None),
        ("output", None, None, "[400] no address", None),
    ]
    assert [tuple(row) for row in due] == [
        ("send", timedelta(hours=2), None, "TicketObject/seat2B/unreserve", UNRESERVE),
        ("sleep", timedelta(days=1), "tomorrow", None, None),
        ("sleep", timedelta(days=1), None, None, None),
    ]
    assert [tuple(row) for row in found] == [
        ("call", "CartObject/ann/addTicket", ANN, None, None),
        ("invocation id", "CartObject/ann/addTicket", ANN, None, 1),
    ]


async def test_waits_name_every_awaited_command(history: Database) -> None:
    rows = await history.fetch(
        "select completion_id, type, target, callee_id, is_all_needed, is_answered"
        " from howdah.waits where invocation_id = $1 order by index",
        GATHERS,
    )

    assert [tuple(row) for row in rows] == [
        (1, "call", "Mailer/send", GATHERED[0], True, True),
        (2, "call", "Mailer/send", GATHERED[1], True, False),
        (3, "call", "Mailer/send", GATHERED[2], True, False),
    ]


async def test_state_locks_inboxes_and_mailboxes_are_shown(history: Database) -> None:
    state = await history.fetch(
        "select service, key, name, value, value_json, value_bytes from howdah.state order by 1, 2"
    )
    locks = await history.fetch(
        "select service, key, held_by, status, waiting, arrived from howdah.locks order by 1, 2"
    )
    inbox = await history.fetch(
        "select service, key, position, invocation_id, handler, held_by from howdah.inbox"
    )
    mailbox = await history.fetch(
        "select invocation_id, type, name, value, failure, completion_id from howdah.mailbox"
    )

    assert [tuple(row) for row in state] == [
        ("CartObject", "joe", "cart", '["seat2B"]', '["seat2B"]', 10),
        ("CartObject", "sue", "d", "4", "4", 1),
        ("TicketObject", "seat2B", "status", '"reserved"', '"reserved"', 10),
    ]
    assert [tuple(row) for row in locks] == [
        ("CartObject", "ann", ANN, "suspended", 1, 2),
        ("TicketObject", "seat3A", SEAT_3A, "backing_off", 0, 1),
    ]
    assert [tuple(row) for row in inbox] == [("CartObject", "ann", 2, ANN_NEXT, "addTicket", ANN)]
    assert [tuple(row) for row in mailbox] == [
        (GATHERS, "call completed", "Mailer/send", '"sent"', None, 1)
    ]


async def test_services_handlers_deployments_workers_and_failures_are_shown(
    history: Database,
) -> None:
    services = await history.fetch(
        "select name, kind, description, deployment, revision, handlers from howdah.services"
        " order by name"
    )
    handlers = await history.fetch(
        "select service || '/' || name, kind, is_public from howdah.handlers order by 1"
    )
    deployments = await history.fetch(
        "select name, kind, services, workers from howdah.deployments"
    )
    workers = await history.fetch(
        "select worker, status, host, running, deployment from howdah.workers order by worker"
    )
    failures = await history.fetch(
        "select attempt, code, error_code, message, name from howdah.failures"
        " where invocation_id = any ($1) order by invocation_id, attempt",
        [SEAT_3A, PAUSED],
    )

    assert [tuple(row) for row in services] == [
        ("CartObject", "object", "Carts.", "v1", 1, 2),
        ("Mailer", "service", None, "v1", 1, 1),
        ("TicketObject", "object", None, "v1", 1, 2),
    ]
    assert [tuple(row) for row in handlers] == [
        ("CartObject/addTicket", "exclusive", True),
        ("CartObject/get", "shared", True),
        ("Mailer/send", "stateless", True),
        ("TicketObject/reserve", "exclusive", True),
        ("TicketObject/unreserve", "exclusive", False),
    ]
    assert [tuple(row) for row in deployments] == [
        ("v1", "local", ["CartObject", "Mailer", "TicketObject"], 1)
    ]
    assert [tuple(row) for row in workers] == [
        (1, "alive", "node-a", 2, "v1"),
        (2, "fenced", "node-b", 0, "v1"),
        (3, "stopped", "node-b", 0, "v1"),
    ]
    assert [tuple(row) for row in failures] == [
        (1, 500, None, "OSError: no route", "reserve"),
        (2, 500, None, "OSError: timed out", "reserve"),
        (70, 500, "HD2001", "NonDeterminism: another command", None),
    ]


async def test_payloads_that_are_no_text_are_shown_escaped(history: Database) -> None:
    await history.execute(
        "update howdah_core.invocation set input = $2 where id = $1", JOE, b"\xff\x00"
    )
    await history.execute("update howdah_core.state set value = $1", b"{")
    await history.execute("update howdah_core.journal set value = $1", b'"\\u0000"')

    row = await _invocation(history, JOE)
    entries = await history.fetch("select * from howdah.journal")
    state = await history.fetch("select value, value_json from howdah.state")

    assert (row["input"], row["input_json"]) == ("\\377\\000", None)
    assert {entry["value"] for entry in entries if entry["index"] > 0} == {'"\\u0000"'}
    assert {tuple(entry) for entry in state} == {("{", None)}


async def test_the_last_write_of_an_object_can_be_found(history: Database) -> None:
    writer = await history.fetchval(
        """
        select j.invocation_id
          from howdah.invocations i
          join howdah.journal j on j.invocation_id = i.id
         where i.service = 'CartObject' and i.key = 'sue' and j.type = 'set state' and j.name = 'd'
         order by j.appended_at desc limit 1
        """
    )

    assert writer == SUE_2


async def test_every_view_and_column_is_described(db: Database) -> None:
    missing = await db.fetch(
        """
        select c.relname, a.attname
          from pg_class c
          join pg_attribute a on a.attrelid = c.oid and a.attnum >= 0 and not a.attisdropped
         where c.relnamespace = 'howdah'::regnamespace and c.relkind = 'v'
           and col_description(c.oid, a.attnum) is null
        union all
        select c.relname, null
          from pg_class c
         where c.relnamespace in ('howdah'::regnamespace, 'howdah_core'::regnamespace)
           and c.relkind = 'v' and obj_description(c.oid, 'pg_class') is null
        union all
        select p.proname, null from pg_proc p
         where p.pronamespace = 'howdah'::regnamespace and obj_description(p.oid, 'pg_proc') is null
        """
    )

    assert [tuple(row) for row in missing] == []


async def test_a_reader_needs_rights_on_the_views_alone(history: Database, dsn: str) -> None:
    await history.execute(
        "create role t_reader; grant usage on schema howdah to t_reader;"
        "grant select on all tables in schema howdah to t_reader"
    )
    try:
        await history.execute("set role t_reader")
        for name in await _views(history):
            await history.fetch(f"select * from howdah.{name}")
        assert await history.fetch("select * from howdah.check()") == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await history.fetch("select * from howdah_core.live")
    finally:
        await history.execute("reset role; drop owned by t_reader; drop role t_reader")


async def test_every_kind_of_entry_has_words(db: Database) -> None:
    from howdah.machine.entries import Kind

    for kind in Kind:
        words = await db.fetchval("select howdah.entry_type($1)", int(kind))
        assert not words.startswith("kind "), kind
    assert await db.fetchval("select howdah.entry_type(99::smallint)") == "kind 99"


async def _views(db: Database) -> list[str]:
    rows: list[Any] = await db.fetch(
        "select relname from pg_class where relkind = 'v'"
        " and relnamespace = 'howdah'::regnamespace order by relname"
    )
    return [row["relname"] for row in rows]
