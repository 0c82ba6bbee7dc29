"""howdah.check(): silent on a clean history, and each broken invariant is caught by name."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from pytest_postgresql.executors import NoopExecutor

from howdah.resources import sql_files
from support import histories, postgres
from support.histories import Database

PLACES = "an invocation is in exactly one place"
ORPHAN = "nothing is without its invocation"
MAIL = "mail is for a live invocation"
QUEUE = "a queue has its version"
DENSE = "a journal has no gaps"
ONCE = "a command is completed once"
UNASKED = "a completion has its command"
OUTPUT = "an output goes with its outcome"
HOLDER = "a key is held by a live invocation of its own"
HOLDS = "a live exclusive invocation holds its key"
INBOX = "an inbox is behind the holder of its key"
ALONE = "one exclusive invocation of a key at a time"
FIFO = "exclusive invocations start in order of arrival"
CALLEE = "a call has its callee"
CALLER = "a callee has its call"
ONE_CALLEE = "a call has one callee"
COMPLETED = "a completed callee has completed the call"
RESULT = "a call is completed with the callee's outcome"
STATE = "state is what the journals wrote"
DEAF = "a wait ends when its answer is there"
HOPELESS = "a wait is for something that can come"
TIMER = "a sleep has its timer"
LATE = "a timer is not late"
EARLY = "a timer is not early"
LEASE = "a lease has its worker"
FENCED = "a fenced worker holds nothing"
ZOMBIE = "a fenced worker writes nothing"
SINK = "an outcome reaches who waits for it"
IDEMPOTENT = "an idempotency key yields one invocation"
ONE_RUN = "a workflow runs once"

# What breaks an invariant (n = the invocation's number in support.histories) and all that is then
# reported, with the invocation's number.
BROKEN: list[tuple[str, set[tuple[str, int | None]]]] = [
    ("delete from howdah_core.live where id = history.id(7)", {(PLACES, 7)}),
    ("insert into howdah_core.inbox select service, 'x', 9, history.id(8), 1, created_at"
     "  from howdah_core.inbox", {(PLACES, 8), (INBOX, 8)}),
    ("select history.outcome(10, 8, 9, 'succeeded', '')", {(PLACES, 10), (SINK, 10)}),
    ("delete from howdah_core.invocation where id = history.id(8)", {(ORPHAN, 8)}),
    ("delete from howdah_core.invocation where id = history.id(16)", {(ORPHAN, 16)}),
    ("delete from howdah_core.invocation where id = history.id(6)", {(ORPHAN, 6), (INBOX, 6)}),
    ("insert into howdah_core.failure (id, n, failed_at, code, message)"
     " values (history.id(99), 1, now(), 500, '')", {(ORPHAN, 99)}),
    ("insert into howdah_core.idem values (1, '', 'gone', history.id(99))", {(ORPHAN, 99)}),
    ("insert into howdah_core.sink (target_id, worker) values (history.id(99), 1)", {(ORPHAN, 99)}),
    ("insert into howdah_core.promise_waiter values (2, 'seat2B', 'p', history.id(2), 1)", {(ORPHAN, 2)}),
    ("insert into howdah_core.promise values (2, 'nobody', 'p')", {(ORPHAN, None)}),
    ("insert into howdah_core.nudge (id, verb, at) values (history.id(99), 'kill', history.at(9))",
     {(ORPHAN, 99)}),
    ("insert into howdah_core.mailbox (id, kind, cid, at)"
     " values (history.id(11), 103, 1, history.at(10))", {(MAIL, 11), (ONCE, 11)}),
    ("update howdah_core.live set q = 1000000 where id = history.id(8)", {(QUEUE, 8)}),
    ("insert into howdah_core.deployment_service (deployment, service) values (1, 3)"
     "  on conflict do nothing;"
     " update howdah_core.live set q = s.q, deployment = null"
     "   from howdah_core.deployment_service s where id = history.id(8) and s.service = 3",
     {(QUEUE, 8)}),
    ("delete from howdah_core.journal where id = history.id(17) and idx = 2",
     {(DENSE, 17), (STATE, 16), (STATE, 17)}),
    ("delete from howdah_core.journal where id = history.id(7) and idx = 1",
     {(DENSE, 7), (UNASKED, 7)}),
    ("delete from howdah_core.journal where id = history.id(11) and idx = 3;"
     " select history.entry(11, 4, 2, 9.3, p_detail => '{\"code\": 400}')", {(DENSE, 11)}),
    ("select history.entry(7, 4, 103, 5.5, 1)", {(ONCE, 7)}),
    ("insert into howdah_core.mailbox (id, kind, cid, at) values (history.id(7), 103, 1, now())",
     {(ONCE, 7)}),
    ("select history.entry(7, 4, 104, 5.5, 2)", {(UNASKED, 7)}),
    ("update howdah_core.journal set idx = 10 + idx where id = history.id(7) and idx < 3;"
     " update howdah_core.journal set idx = 13 - idx where id = history.id(7) and idx > 10",
     {(UNASKED, 7)}),
    ("select history.entry(7, 4, 2, 5.5)", {(OUTPUT, 7)}),
    ("select history.entry(11, 4, 3, 9.4, 2, 'late')", {(OUTPUT, 11)}),
    ("update howdah_core.outcome set value = 'other' where id = history.id(1)", {(OUTPUT, 1)}),
    ("update howdah_core.outcome set outcome = 'failed', code = 500 where id = history.id(1)",
     {(OUTPUT, 1)}),
    ("select history.held('CartObject', 'tom', 1, 1)", {(HOLDER, 1)}),
    ("select history.held('CartObject', 'tom', 7, 1)", {(HOLDER, 7)}),
    ("select history.held('CartObject', 'tom', 4, 1)", {(HOLDER, 4)}),
    ("update howdah_core.keylock set holder = history.id(3) where key = 'seat2B'", {(HOLDER, 3)}),
    ("update howdah_core.keylock set holder = history.id(6) where key = 'ann'",
     {(HOLDER, 6), (HOLDS, 4)}),
    ("update howdah_core.keylock set holder = null where key = 'ann'", {(HOLDS, 4), (INBOX, 6)}),
    ("update howdah_core.keylock set holder = null where key = 'seat3A'", {(HOLDS, 5)}),
    ("delete from howdah_core.keylock where key = 'seat3A'", {(HOLDS, 5)}),
    ("update howdah_core.inbox set seq = 3", {(INBOX, 6)}),
    ("update howdah_core.inbox set key = 'seat3A'", {(INBOX, 6)}),
    ("update howdah_core.outcome set started_at = history.at(20.15) where id = history.id(17)",
     {(ALONE, 17)}),
    ("update howdah_core.outcome set started_at = history.at(19) where id = history.id(17);"
     " update howdah_core.outcome set completed_at = history.at(20.01) where id = history.id(17)",
     {(FIFO, 17)}),
    ("update howdah_core.inbox set created_at = history.at(1)", {(FIFO, 4)}),
    ("delete from howdah_core.live where id = history.id(14);"
     " delete from howdah_core.invocation where id = history.id(14)", {(CALLEE, 12)}),
    ("delete from howdah_core.live where id = history.id(3);"
     " delete from howdah_core.invocation where id = history.id(3)", {(CALLEE, 2)}),
    ("update howdah_core.journal set ref = history.id(99) where id = history.id(18) and idx = 2",
     {(CALLEE, 18)}),
    ("update howdah_core.journal set ref = history.id(14) where id = history.id(12) and idx = 3",
     {(CALLER, 15)}),
    ("update howdah_core.invocation set parent_cid = 2 where id = history.id(15)",
     {(ONE_CALLEE, 12)}),
    ("delete from howdah_core.mailbox", {(COMPLETED, 12)}),
    ("select history.outcome(21, 40.2, 41, 'succeeded', '');"
     " delete from howdah_core.live where id = history.id(21)", {(COMPLETED, 20)}),
    ("update howdah_core.keylock set holder = null where key = 'ann';"
     " delete from howdah_core.inbox; delete from howdah_core.live where id = history.id(4);"
     " select history.outcome(4, 3, 50, 'killed', '', 500, ''), history.live(6, 'paused', 51);"
     " update howdah_core.keylock set holder = history.id(6) where key = 'ann'",
     {(COMPLETED, 18), (SINK, 4)}),
    ("update howdah_core.journal set value = 'false' where id = history.id(1) and idx = 3",
     {(RESULT, 1)}),
    ("update howdah_core.journal set detail = '{\"code\": 500}' where id = history.id(1) and idx = 3",
     {(RESULT, 1)}),
    ("update howdah_core.state set value = 'x' where key = 'joe'", {(STATE, 1)}),
    ("delete from howdah_core.state where key = 'joe'", {(STATE, 1)}),
    ("select history.state('CartObject', 'sue', 'a', '1')", {(STATE, None)}),
    ("select history.state('CartObject', 'sue', 'e', '5')", {(STATE, 17)}),
    ("select history.state('CartObject', 'joe', 'stray', '5')", {(STATE, None)}),
    ("insert into howdah_core.mailbox (id, kind, cid, at) values"
     " (history.id(4), 105, 1, history.at(10))", {(DEAF, 4)}),
    ("select history.entry(4, 2, 105, 10, 1)", {(DEAF, 4)}),
    ("update howdah_core.live set wait_all = false where id = history.id(12)", {(DEAF, 12)}),
    ("insert into howdah_core.mailbox (id, kind, cid, at) values"
     " (history.id(12), 105, 2, history.at(10)), (history.id(12), 105, 3, history.at(10))",
     {(DEAF, 12)}),
    ("insert into howdah_core.mailbox (id, kind, cid, at) values"
     " (history.id(12), 150, -1, history.at(10))", {(DEAF, 12)}),
    ("update howdah_core.live set wait_ids = null where id = history.id(12)", {(DEAF, 12)}),
    ("update howdah_core.live set wait_ids = '{7}' where id = history.id(4)", {(HOPELESS, 4)}),
    ("update howdah_core.live set wait_ids = '{}' where id = history.id(4)", {(HOPELESS, 4)}),
    ("update howdah_core.live set wait_ids = '{1,2,7}' where id = history.id(12)",
     {(HOPELESS, 12)}),
    ("update howdah_core.live set status = 'suspended', worker = null, wait_ids = '{2}'"
     " where id = history.id(7)", {(HOPELESS, 7)}),
    ("update howdah_core.live set run_at = null where id = history.id(8)", {(TIMER, 8)}),
    ("update howdah_core.live set run_at = run_at + interval '1 s' where id = history.id(20)",
     {(TIMER, 20)}),
    ("update howdah_core.live set run_at = history.at(3000) where id = history.id(3)", {(LATE, 3)}),
    ("update howdah_core.live set run_at = history.at(3000) where id = history.id(5)", {(LATE, 5)}),
    ("update howdah_core.live set run_at = history.at(3000) where id = history.id(8)", {(LATE, 8)}),
    ("update howdah_core.live set status = 'ready', wait_ids = null, run_at = clock_timestamp()"
     " where id = history.id(8);"
     " select history.entry(8, 2, 104, 3000, 1)", {(EARLY, 8)}),
    ("update howdah_core.live set status = 'paused', run_at = null, started_at = history.at(3000)"
     " where id = history.id(3);"
     " update howdah_core.keylock set holder = history.id(3), tail = 2 where key = 'seat2B'",
     {(EARLY, 3)}),
    ("update howdah_core.live set worker = 77 where id = history.id(7)", {(LEASE, 7)}),
    ("update howdah_core.live set worker = 2 where id = history.id(7)", {(FENCED, 7)}),
    ("update howdah_core.worker set beat_at = history.at(80) where no = 2", {(ZOMBIE, None)}),
    ("insert into howdah_core.sink (target_id, worker) values (history.id(1), 1)", {(SINK, 1)}),
    ("delete from howdah_core.idem where idempotency_key = 'ann-1'", {(IDEMPOTENT, 4)}),
    ("update howdah_core.invocation set idempotency_key = 'joe-1' where id = history.id(16)",
     {(IDEMPOTENT, 16)}),
    ("update howdah_core.invocation set key = 'joe', idempotency_key = 'joe-1', is_exclusive = false"
     " where id = history.id(16)", {(IDEMPOTENT, 16)}),
    ("update howdah_core.handler set kind = 'workflow' where name = 'unreserve'", {(ONE_RUN, 3)}),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def history_dsn(
    postgres_server: postgres.Server, template_database: NoopExecutor
) -> AsyncIterator[str]:
    """A database with a clean history, for all of these tests: each undoes what it breaks."""
    async with postgres.database(postgres_server, template_database.template_dbname) as dsn:
        connection = await asyncpg.connect(dsn)
        await histories.write_history(connection)
        await connection.close()
        yield dsn


@pytest.fixture
async def history(history_dsn: str) -> AsyncIterator[Database]:
    """A connection in a transaction that is rolled back."""
    connection = await asyncpg.connect(history_dsn)
    await connection.execute("begin")
    yield connection
    await connection.execute("rollback")
    await connection.close()


async def _violations(db: Database) -> set[tuple[str, int | None]]:
    rows = await db.fetch("select invariant, right(invocation_id::text, 12) from howdah.check()")
    return {(row[0], None if row[1] is None else int(row[1])) for row in rows}


async def test_a_clean_history_violates_nothing(history: Database) -> None:
    assert await _violations(history) == set()


async def test_an_empty_database_violates_nothing(db: Database) -> None:
    assert await db.fetch("select * from howdah.check()") == []


@pytest.mark.parametrize(("statements", "expected"), BROKEN)
async def test_a_broken_invariant_is_named(
    history: Database, statements: str, expected: set[tuple[str, int | None]]
) -> None:
    await history.execute(statements)

    assert await _violations(history) == expected


def test_every_invariant_is_broken_once() -> None:
    stated = {
        invariant.replace("''", "'")
        for name, text in sql_files("views")
        if "_check_" in name
        for invariant in re.findall(r"^select '((?:[^']|'')+)'(?: as invariant)?,", text, re.M)
    }

    assert stated == {invariant for _, expected in BROKEN for invariant, _ in expected}


async def test_progress_is_asked_of_nobody_when_no_worker_is_there(history: Database) -> None:
    await history.execute(
        "update howdah_core.live set run_at = history.at(3000) where id = history.id(3);"
        "update howdah_core.worker set fenced_at = beat_at where fenced_at is null"
    )

    assert await _violations(history) == set()


async def test_state_is_not_judged_when_a_part_of_its_past_is_gone(history: Database) -> None:
    await history.execute(
        "delete from howdah_core.journal where id = history.id(16);"
        "delete from howdah_core.outcome where id = history.id(16);"
        "delete from howdah_core.invocation where id = history.id(16);"
        "select history.state('CartObject', 'sue', 'kept', '1')"
    )

    assert await _violations(history) == set()


async def test_a_call_that_is_done_may_outlive_its_callee(history: Database) -> None:
    await history.execute(
        "delete from howdah_core.journal where id = history.id(2);"
        "delete from howdah_core.outcome where id = history.id(2);"
        "delete from howdah_core.invocation where id = history.id(2)"
    )

    assert await _violations(history) == set()


WAITS_FOR_WORD = (
    "update howdah_core.live set wait_ids = array[howdah_core.signal_cid('word')]"
    " where id = history.id(4)"
)
MAIL = (
    "insert into howdah_core.mailbox (id, kind, cid, name, at) values"
    " (history.id(4), 150, howdah_core.signal_cid($1), $1, history.at(10))"
)


async def test_a_signal_is_for_who_waits_for_its_name(history: Database) -> None:
    await history.execute(WAITS_FOR_WORD)
    await history.execute(MAIL, "another")
    assert await _violations(history) == set()

    await history.execute(MAIL, "word")
    assert await _violations(history) == {(DEAF, 4)}


async def test_the_next_signal_of_a_name_may_take_its_time(history: Database) -> None:
    await history.execute(WAITS_FOR_WORD)
    await history.execute(
        "select history.entry(4, 2, 150, 10, howdah_core.signal_cid('word'), 'word')"
    )
    assert await _violations(history) == set()


REMOTE = """
update howdah_core.journal set detail = jsonb_build_object('id_cid', cid + 3, 'label', 'to Mailer')
 where id = history.id(12) and kind = 5;
select history.entry(12, 4, 106, 10.1, 4, p_ref => 13), history.entry(12, 5, 106, 10.1, 5, p_ref => 14),
       history.entry(12, 6, 106, 10.1, 6, p_ref => 15);
"""
"""As an SDK for Restate numbers it: each call names the completion that tells it its callee's id."""


async def test_a_remote_journal_names_who_is_told_which_id(history: Database) -> None:
    await history.execute(REMOTE)

    told = await history.fetch(
        "select index, target, completes from howdah.journal"
        " where invocation_id = history.id(12) and type = 'invocation id' order by index"
    )

    assert await _violations(history) == set()
    assert [tuple(row) for row in told] == [
        (4, "Mailer/send", 1), (5, "Mailer/send", 2), (6, "Mailer/send", 3)
    ]  # fmt: skip


async def test_an_id_that_no_remote_call_asked_for_is_named(history: Database) -> None:
    await history.execute(REMOTE)
    await history.execute(
        "update howdah_core.journal set cid = 9 where id = history.id(12) and idx = 6"
    )

    assert await _violations(history) == {(UNASKED, 12)}


async def test_state_and_calls_are_not_judged_by_a_journal_that_was_removed(
    history: Database,
) -> None:
    await history.execute(
        "delete from howdah_core.journal where id in (history.id(2), history.id(16));"
        "update howdah_core.outcome set journal_expires_at = '-infinity'"
        " where id in (history.id(2), history.id(16))"
    )

    assert await _violations(history) == set()


async def test_mail_that_came_too_late_and_orders_may_wait_for_the_sweep(history: Database) -> None:
    await history.execute(
        "insert into howdah_core.mailbox (id, kind, cid, at) values (history.id(11), 150, -1, now());"
        "insert into howdah_core.mailbox (id, kind, cid, at)"
        " values (history.id(6), 150, -1, history.at(30));"
        "insert into howdah_core.nudge (id, verb) values (history.id(99), 'kill')"
    )

    assert await _violations(history) == set()


async def test_one_invariant_can_be_asked_for_alone(history: Database) -> None:
    await history.execute("update howdah_core.live set worker = 77 where id = history.id(7)")

    rows = await history.fetch("select * from howdah.violations where invariant = $1", LEASE)

    assert [row["detail"] for row in rows] == ["worker 77"]
