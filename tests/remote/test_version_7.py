"""Version 7 of the service protocol, message by message."""

import asyncio
import json
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from howdah.remote.futures import DEPTH_MAX
from howdah.remote.wire import ACK_REQUESTED, Type, encode
from howdah.worker.engine import Engine
from support.engines import assert_healthy, send, until
from support.futures import (
    ALL,
    ALL_SUCCEEDED,
    ANY,
    FIRST_SUCCEEDED,
    UNKNOWN,
    cancellable,
    future,
    nested,
)
from support.holding import held
from support.speakers import Talk, driving, say, speaking

Database: TypeAlias = "asyncpg.Connection[Any]"

SOON = {"inactivity_timeout": timedelta(milliseconds=50)}
LATE = {"inactivity_timeout": timedelta(minutes=5)}
FAILED = "select count(*) > 0 from howdah.failures where invocation_id = $1"
SHOWN = "select last_awaiting_on_future_json from restate.sys_invocation where id_uuid = $1"


def suspension(payload: bytes) -> bytes:
    return say(Type.SUSPENSION, awaiting_on=payload)


def awaiting(payload: bytes) -> bytes:
    return say(Type.AWAITING_ON, awaiting_on=payload)


async def complete(db: Database, id_: UUID, number: int | str, *, fails: bool = False) -> None:
    """Complete an awakeable of an invocation, or send it a named signal."""
    if isinstance(number, str):
        await db.fetchval("select howdah.signal($1, $2, '1')", id_, number)
        return
    verb = "reject_awakeable($1, 'no')" if fails else "resolve_awakeable($1, '1')"
    awakeable = await db.fetchval("select howdah_core.awakeable_id($1, $2)", id_, number)
    await db.fetchval(f"select howdah.{verb}", awakeable)


async def outcome(engine: Engine, id_: UUID) -> Any:
    """The result of an invocation that succeeds."""
    found = await asyncio.wait_for(engine.attach(id_), 20)
    assert found.outcome == "succeeded", found
    return json.loads(found.value)


async def until_status(db: Database, id_: UUID, status: str) -> None:
    query = "select status = $2 from howdah.invocations where id = $1"
    await until(db, query, id_, status)


async def attempts(db: Database, id_: UUID) -> int:
    query = "select attempts from howdah.invocations where id = $1"
    count: int = await db.fetchval(query, id_)
    return count


async def failures(db: Database, id_: UUID) -> list[str]:
    query = "select error_code from howdah.failures where invocation_id = $1 order by failed_at"
    return [row["error_code"] for row in await db.fetch(query, id_)]


# Suspensions.


@pytest.mark.parametrize(
    ("tree", "events"),
    [
        (future(UNKNOWN, -17, -18), [18]),
        (future(ANY, -17, -18), [(17, "fails")]),
        (future(ALL, -17, -18), [(17, "fails"), 18]),
        (future(ALL, -17, "go"), ["go", 17]),
        (future(FIRST_SUCCEEDED, -17, -18), [18]),
        (future(FIRST_SUCCEEDED, -17, -18), [(17, "fails"), 18]),
        (future(FIRST_SUCCEEDED, -17, -18), [(18, "fails"), (17, "fails")]),
        (future(ALL_SUCCEEDED, -17, -18), [18, 17]),
        (future(ALL_SUCCEEDED, -17, -18), [(18, "fails")]),
        (future(ALL_SUCCEEDED, -17, -18, "go"), [17, "go", (18, "fails")]),
        (future(ALL, -17, future(ANY, -18, -19)), [18, 17]),
        (future(ALL, -17, future(ANY, -18, -19)), [17, 19]),
        (future(ANY, -17, future(ALL, -18, -19)), [18, 19]),
        (future(ANY, -17, future(ALL, -18, -19)), [18, 17]),
        (future(ALL_SUCCEEDED, -17, future(ANY, -18, -19)), [19, 17]),
        (future(ALL_SUCCEEDED, -17, future(ANY, -18, -19)), [(19, "fails")]),
        (future(ALL, -17, future(UNKNOWN, -18, -19)), [19, 17]),
        # Whether what is unknown has succeeded, only the endpoint can say.
        (future(FIRST_SUCCEEDED, -17, future(UNKNOWN, -18, -19)), [(18, "fails")]),
        (future(ALL_SUCCEEDED, -17, future(UNKNOWN, -18, -19)), [18]),
    ],
)
async def test_a_suspended_invocation_goes_on_when_its_future_is_resolved_and_not_before(
    dsn: str, db: Database, tree: bytes, events: list[Any]
) -> None:
    async def script(talk: Talk) -> None:
        await talk.start()
        if talk.attempt == 1:
            talk.end(suspension(cancellable(tree)))
        else:
            talk.succeed(len(talk.all_of(Type.SIGNAL)))

    async with speaking(script) as endpoint, driving(dsn, endpoint) as engine:
        sent = await send(engine, "Speaker/speak")
        await until_status(db, sent.id, "suspended")
        for place, event in enumerate(events, 1):
            number, fails = event if isinstance(event, tuple) else (event, None)
            await complete(db, sent.id, number, fails=bool(fails))
            if place < len(events):
                # Nobody makes it ready, whoever looks.
                assert await db.fetch("select * from howdah_core.wake($1)", [sent.id]) == []
                await until_status(db, sent.id, "suspended")

        assert await outcome(engine, sent.id) == len(events)
    assert await attempts(db, sent.id) == 2
    await assert_healthy(db)


async def test_a_cancellation_wakes_what_waits_for_all(dsn: str, db: Database) -> None:
    async def script(talk: Talk) -> None:
        await talk.start()
        if talk.attempt == 1:
            talk.end(suspension(cancellable(future(ALL, -17, future(ANY, -18, -19)))))
        else:
            talk.succeed([signal.signal_idx for signal in talk.all_of(Type.SIGNAL)])

    async with speaking(script) as endpoint, driving(dsn, endpoint) as engine:
        sent = await send(engine, "Speaker/speak")
        await until_status(db, sent.id, "suspended")
        await complete(db, sent.id, 17)
        assert await engine.operate("cancel", sent.id) in ("done", "accepted")

        assert await outcome(engine, sent.id) == [17, 1]


async def test_what_came_before_a_suspension_is_told_to_the_next_attempt_at_once(
    dsn: str, db: Database
) -> None:
    """It is on disk when the endpoint suspends, and was not sent: the request had ended."""
    is_closed, goes_on = asyncio.Event(), asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.start()
        if talk.attempt == 1:
            await talk.closed()
            is_closed.set()
            await goes_on.wait()
            talk.end(suspension(cancellable(future(ALL, -17, -18))))
        else:
            talk.succeed([signal.signal_idx for signal in talk.all_of(Type.SIGNAL)])

    async with speaking(script) as endpoint, driving(dsn, endpoint, **SOON) as engine:
        sent = await send(engine, "Speaker/speak")
        await is_closed.wait()
        for number in (17, 18):
            await complete(db, sent.id, number)
        query = "select count(*) = 2 from howdah_core.journal where id = $1 and kind = 150"
        await until(db, query, sent.id)
        goes_on.set()

        assert await outcome(engine, sent.id) == [17, 18]
    assert await attempts(db, sent.id) == 2


async def test_what_comes_while_a_suspension_is_written_is_not_slept_through(
    dsn: str, db: Database
) -> None:
    async def script(talk: Talk) -> None:
        await talk.start()
        if talk.attempt == 1:
            talk.end(suspension(cancellable(future(FIRST_SUCCEEDED, -17, -18))))
        else:
            talk.succeed([signal.signal_idx for signal in talk.all_of(Type.SIGNAL)])

    async with speaking(script) as endpoint, driving(dsn, endpoint) as engine:
        suspended = "new.status = 'suspended'"
        async with held(dsn, db, "update on howdah_core.live", suspended) as hold:
            sent = await send(engine, "Speaker/speak")
            await hold.reached()
            await complete(db, sent.id, 17, fails=True)
            await complete(db, sent.id, 18)

        assert await outcome(engine, sent.id) == [17, 18]
    assert await attempts(db, sent.id) == 2


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (suspension(b""), "RT0012"),
        (suspension(future(ALL)), "RT0012"),
        (suspension(future(ANY, future(ALL), future(ANY))), "RT0012"),
        (suspension(b"\xff"), "RT0012"),
        (suspension(future(ANY, 7)), "RT0012"),
        (say(Type.SUSPENSION, waiting_signals=[17]), "RT0012"),
        (suspension(nested(DEPTH_MAX + 1, -17)), "RT0025"),
        (awaiting(b""), "RT0012"),
        (
            say(Type.CALL, service_name="Speaker", handler_name="speak", result_completion_id=2,
                invocation_id_notification_idx=1, scope="a b"),
            "RT0024",
        ),
        (
            say(Type.ONE_WAY_CALL, service_name="Speaker", handler_name="speak",
                invocation_id_notification_idx=1, limit_key="l"),
            "RT0024",
        ),
        (
            say(Type.ATTACH_INVOCATION, result_completion_id=1, idempotent_target={
                "service_name": "Speaker", "handler_name": "speak", "idempotency_key": "i",
                "scope": "s/t"}),
            "RT0024",
        ),
        (
            say(Type.ATTACH_INVOCATION, result_completion_id=1, workflow_target={
                "workflow_name": "W", "workflow_key": "k", "scope": "s"}),
            "RT0024",
        ),
    ],
)  # fmt: skip
async def test_what_an_endpoint_must_not_say_is_a_failure(
    dsn: str, db: Database, message: bytes, code: str
) -> None:
    async def script(talk: Talk) -> None:
        talk.say(message)

    async with speaking(script) as endpoint, driving(dsn, endpoint) as engine:
        sent = await send(engine, "Speaker/speak")

        await until(db, FAILED, sent.id)
        if code == "RT0025":
            # Another attempt would say the same.
            await until_status(db, sent.id, "paused")
        assert set(await failures(db, sent.id)) == {code}
        await engine.operate("kill", sent.id)
    await assert_healthy(db)


async def test_futures_may_be_nested_as_deep_as_the_protocol_allows(dsn: str, db: Database) -> None:
    async def script(talk: Talk) -> None:
        await talk.start()
        if talk.attempt == 1:
            talk.end(suspension(nested(DEPTH_MAX, -17, -18)))
        else:
            talk.succeed("woken")

    async with speaking(script) as endpoint, driving(dsn, endpoint) as engine:
        sent = await send(engine, "Speaker/speak")
        await until_status(db, sent.id, "suspended")
        for number in (17, 18):
            await complete(db, sent.id, number)

        assert await outcome(engine, sent.id) == "woken"
    assert await attempts(db, sent.id) == 2


async def test_sleeps_among_others_end_in_time(dsn: str, db: Database) -> None:
    """All of two sleeps, the longer of which counts, or an awakeable that nobody completes."""

    async def script(talk: Talk) -> None:
        await talk.start()
        if talk.attempt == 1:
            now = int(await db.fetchval("select extract(epoch from now()) * 1000"))
            talk.say(
                *(
                    say(Type.SLEEP, result_completion_id=n, wake_up_time=now + 100 * n)
                    for n in (1, 2)
                )
            )
        done = len(talk.all_of(Type.SLEEP_COMPLETION))
        if done < 2:
            talk.end(suspension(cancellable(future(ANY, -17, future(ALL, 1, 2)))))
        else:
            talk.succeed("slept")

    async with speaking(script) as endpoint, driving(dsn, endpoint) as engine:
        sent = await send(engine, "Speaker/speak")

        assert await outcome(engine, sent.id) == "slept"


# Words of waits.

COUNTING = """
create table public.shown (id uuid);
create function public.note_shown() returns trigger language plpgsql as $$
begin
  insert into public.shown values (new.id);
  return null;
end $$;
create trigger note_shown after update on howdah_core.live for each row
  when (new.status = 'running' and new.wait_ids is not null) execute function public.note_shown()"""


async def test_what_a_running_invocation_waits_for_is_shown_until_it_goes_on(
    dsn: str, db: Database
) -> None:
    ends = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.start()
        talk.say(say(Type.RUN, result_completion_id=1, name="charge"))
        talk.say(awaiting(cancellable(future(ALL, 1, future(FIRST_SUCCEEDED, -17, "go")))))
        await talk.hear(Type.SIGNAL)
        talk.say(awaiting(cancellable(1)))
        await ends.wait()
        talk.say(say(Type.PROPOSE_RUN_COMPLETION, result_completion_id=1, value=b"1"))
        await talk.closed()
        talk.end(suspension(cancellable(-18)))

    async with speaking(script) as endpoint, driving(dsn, endpoint, **LATE) as engine:
        sent = await send(engine, "Speaker/speak")

        shown = await until(db, SHOWN, sent.id)
        cancelled = {"Single": {"SignalIndex": 1}}
        run = {"Single": {"CompletionId": 1}}
        first = [{"Single": {"SignalIndex": 17}}, {"Single": {"SignalName": "go"}}]
        both = {"AllCompleted": [run, {"FirstSucceededOrAllFailed": first}]}
        assert json.loads(shown) == {"Unknown": [both, cancelled]}
        query = "select waiting_for from howdah.invocations where id = $1"
        assert "charge" in await db.fetchval(query, sent.id)
        assert await db.fetchval("select count(*) from howdah.waits") == 3

        await complete(db, sent.id, 17)
        await until(db, f"{SHOWN} and last_awaiting_on_future_json not like '%FirstSucc%'", sent.id)
        assert json.loads(await db.fetchval(SHOWN, sent.id)) == {"Unknown": [run, cancelled]}

        ends.set()
        await until(db, f"select coalesce(({SHOWN}), 'nothing') = 'nothing'", sent.id)
        await until_status(db, sent.id, "running")
        engine.residents[sent.id].yield_soon()
        await until_status(db, sent.id, "suspended")
        assert await db.fetchval(SHOWN, sent.id) is None
    await assert_healthy(db)


async def test_a_wait_that_is_over_soon_is_not_written(dsn: str, db: Database) -> None:
    async def script(talk: Talk) -> None:
        await talk.start()
        for number in range(1, 21):
            talk.say(
                say(Type.RUN, result_completion_id=number),
                say(Type.PROPOSE_RUN_COMPLETION, result_completion_id=number, value=b"1"),
                awaiting(cancellable(number)),
            )
            await talk.hear(Type.RUN_COMPLETION, number)
        talk.succeed("done")

    await db.execute(COUNTING)
    async with speaking(script) as endpoint, driving(dsn, endpoint, **LATE) as engine:
        sent = [await send(engine, "Speaker/speak") for _ in range(5)]
        for one in sent:
            assert await outcome(engine, one.id) == "done"
        await engine.showing.run_once()

    assert await db.fetchval("select count(*) from public.shown") == 0


async def test_words_without_end_do_no_harm(dsn: str, db: Database) -> None:
    """They are taken no faster than Postgres commits, and the last one counts."""

    async def script(talk: Talk) -> None:
        await talk.start()
        talk.say(*[awaiting(cancellable(-18))] * 1000, awaiting(cancellable(-17)))
        await talk.hear(Type.SIGNAL)
        talk.succeed("heard")

    async with speaking(script) as endpoint, driving(dsn, endpoint, **LATE) as engine:
        sent = await send(engine, "Speaker/speak")
        shown = json.loads(await until(db, SHOWN, sent.id))
        await complete(db, sent.id, 17)

        assert await outcome(engine, sent.id) == "heard"
    assert {"Single": {"SignalIndex": 17}} in shown["Unknown"]
    assert await attempts(db, sent.id) == 1


# Steps.


def results(talk: Talk) -> list[list[Any]]:
    """What the endpoint knows of its steps: ids and values; no value: it was acknowledged."""
    known = {Type.RUN_COMPLETION: lambda one: [one.completion_id, one.value.content.decode()],
             Type.PROPOSE_RUN_COMPLETION_ACK: lambda one: [one.completion_id]}  # fmt: skip
    return [known[Type(number)](message) for number, message in talk.heard if number in known]


@pytest.mark.parametrize(
    ("newest", "first"), [(7, [[1], [2, "two"]]), (6, [[1, "one"], [2, "two"]])]
)
async def test_a_step_is_acknowledged_if_that_is_asked_for_and_replayed_with_its_value(
    dsn: str, db: Database, newest: int, first: list[Any]
) -> None:
    heard: list[Any] = []

    async def script(talk: Talk) -> None:
        await talk.start()
        if talk.attempt == 1:
            talk.say(
                say(Type.RUN, result_completion_id=1),
                say(
                    Type.PROPOSE_RUN_COMPLETION,
                    flags=ACK_REQUESTED,
                    result_completion_id=1,
                    value=b"one",
                ),
                say(Type.RUN, result_completion_id=2),
                say(Type.PROPOSE_RUN_COMPLETION, result_completion_id=2, value=b"two"),
            )
            await talk.hear(Type.RUN_COMPLETION)
            while len(results(talk)) < 2:
                await talk.hear(Type.RUN_COMPLETION, 2)
            heard.extend(results(talk))
            talk.end(
                suspension(future(ANY, -17))
                if newest == 7
                else say(Type.SUSPENSION, waiting_signals=[17])
            )
        else:
            talk.succeed(results(talk))

    options = {"remote_protocol_max": newest, **LATE}
    async with speaking(script) as endpoint, driving(dsn, endpoint, **options) as engine:
        sent = await send(engine, "Speaker/speak")
        await until_status(db, sent.id, "suspended")
        await complete(db, sent.id, 17)

        assert await outcome(engine, sent.id) == [[1, "one"], [2, "two"]]
    assert heard == first


# Errors.


@pytest.mark.parametrize(
    ("newest", "behavior", "status"),
    [(7, 0, "backing_off"), (7, 1, "paused"), (7, 2, "completed"), (7, 9, "backing_off"),
     (6, 1, "backing_off"), (6, 2, "backing_off")],
)  # fmt: skip
async def test_an_error_says_what_becomes_of_the_invocation(
    dsn: str, db: Database, newest: int, behavior: int, status: str
) -> None:
    async def script(talk: Talk) -> None:
        await talk.start()
        talk.end(
            say(
                Type.ERROR,
                code=418,
                message="no tea",
                behavior=behavior,
                next_retry_delay=3_600_000,
            )
        )

    options = {"remote_protocol_max": newest}
    async with speaking(script) as endpoint, driving(dsn, endpoint, **options) as engine:
        sent = await send(engine, "Speaker/speak")

        await until_status(db, sent.id, status)
        assert await failures(db, sent.id) == ["RT0007"]
        if status == "completed":
            found = await engine.attach(sent.id)
            assert (found.outcome, found.code, found.message) == ("failed", 418, "no tea")
        if status == "paused":
            assert await engine.operate("resume", sent.id) == "done"
            await until(
                db, "select count(*) = 2 from howdah.failures where invocation_id = $1", sent.id
            )
    await assert_healthy(db)


# Scopes.


async def test_a_call_in_a_scope_is_recorded_and_replayed_and_its_callee_is_told(
    dsn: str, db: Database
) -> None:
    calls = [
        say(Type.CALL, service_name="Speaker", handler_name="speak", result_completion_id=2,
            invocation_id_notification_idx=1, idempotency_key="i", scope="shop", limit_key="joe/x"),
        say(Type.ONE_WAY_CALL, service_name="Speaker", handler_name="speak",
            invocation_id_notification_idx=3, scope="shop"),
        say(Type.ATTACH_INVOCATION, result_completion_id=4, idempotent_target={
            "service_name": "Speaker", "handler_name": "speak", "idempotency_key": "i",
            "scope": "shop"}),
    ]  # fmt: skip

    async def script(talk: Talk) -> None:
        start = await talk.start()
        if start.HasField("scope"):
            talk.succeed([start.scope, start.limit_key])
        elif talk.attempt == 1:
            talk.say(*calls)
            talk.end(suspension(future(ALL, 2, 4)))
        else:
            talk.succeed("done")

    async with speaking(script) as endpoint, driving(dsn, endpoint) as engine:
        sent = await send(engine, "Speaker/speak")
        assert await outcome(engine, sent.id) == "done"
        await until(db, "select count(*) = 3 from howdah.invocations where status = 'completed'")
        rows = await db.fetch(
            "select scope, limit_key, output_json from howdah.invocations"
            " where parent_id = $1 order by limit_key",
            sent.id,
        )
        attached = await db.fetchval(
            "select value from howdah_core.journal where id = $1 and kind = 118", sent.id
        )
    assert [(row["scope"], row["limit_key"]) for row in rows] == [("shop", "joe/x"), ("shop", None)]
    assert [json.loads(row["output_json"]) for row in rows] == [["shop", "joe/x"], ["shop", ""]]
    assert json.loads(attached) == ["shop", "joe/x"]
    replay = next(talk for talk in endpoint.talks if talk.attempt > 1)
    again = [
        encode(number, message)
        for number, message in replay.heard
        if number in (Type.CALL, Type.ONE_WAY_CALL, Type.ATTACH_INVOCATION)
    ]
    assert again == calls
    await assert_healthy(db)


async def test_a_call_in_a_scope_needs_version_7(dsn: str, db: Database) -> None:
    async def script(talk: Talk) -> None:
        talk.say(
            say(Type.ONE_WAY_CALL, service_name="Speaker", handler_name="speak",
                invocation_id_notification_idx=1, scope="shop")
        )  # fmt: skip

    async with (
        speaking(script) as endpoint,
        driving(dsn, endpoint, remote_protocol_max=6) as engine,
    ):
        sent = await send(engine, "Speaker/speak")
        await until(db, FAILED, sent.id)
        await engine.operate("kill", sent.id)

    assert set(await failures(db, sent.id)) == {"RT0024"}


# The first message, and versions.


@pytest.mark.parametrize(("newest", "expected"), [(7, "mine"), (6, "")])
async def test_the_first_message_names_the_idempotency_key(
    dsn: str, newest: int, expected: str
) -> None:
    async def script(talk: Talk) -> None:
        await talk.start()
        talk.succeed("done")

    options = {"remote_protocol_max": newest}
    async with speaking(script) as endpoint, driving(dsn, endpoint, **options) as engine:
        sent = await send(engine, "Speaker/speak", idempotency_key="mine")
        await outcome(engine, sent.id)
        await outcome(engine, (await send(engine, "Speaker/speak")).id)

    first, second = (talk.all_of(Type.START)[0] for talk in endpoint.talks)
    assert first.idempotency_key == expected
    assert not second.HasField("idempotency_key")
    assert not any(first.HasField(name) for name in ("scope", "limit_key"))


@pytest.mark.parametrize(
    ("versions", "newest", "chosen"),
    [
        ((5, 7), 7, 7),
        ((5, 7), 6, 6),
        ((5, 7), 5, 5),
        ((5, 6), 7, 6),
        ((5, 5), 7, 5),
        ((6, 9), 7, 7),
    ],
)
async def test_the_newest_version_that_both_speak_is_spoken(
    dsn: str, db: Database, versions: tuple[int, int], newest: int, chosen: int
) -> None:
    async def script(talk: Talk) -> None:
        await talk.start()
        talk.succeed(talk.version)

    options = {"remote_protocol_max": newest}
    async with (
        speaking(script, versions=versions) as endpoint,
        driving(dsn, endpoint, **options) as engine,
    ):
        sent = await send(engine, "Speaker/speak")

        assert await outcome(engine, sent.id) == chosen
    query = "select pinned_service_protocol_version from restate.sys_invocation where id_uuid = $1"
    assert await db.fetchval(query, sent.id) == chosen
    await assert_healthy(db)


async def spoken(talk: Talk) -> None:
    """Asks for a step, then suspends until 17 is completed; the result is the version of each attempt."""
    await talk.start()
    if talk.attempt == 1:
        talk.say(say(Type.RUN, result_completion_id=1, name="charge"))
    if not talk.all_of(Type.SIGNAL):
        one = say(Type.SUSPENSION, waiting_signals=[17])
        talk.end(suspension(future(ANY, -17)) if talk.version == 7 else one)
        return
    talk.succeed(talk.version)


@pytest.mark.parametrize(("before", "after"), [(7, 6), (6, 7), (5, 7), (7, 5)])
async def test_what_has_begun_keeps_its_version_when_the_option_changes(
    dsn: str, db: Database, before: int, after: int
) -> None:
    async with speaking(spoken) as endpoint:
        async with driving(dsn, endpoint, remote_protocol_max=before) as engine:
            old = await send(engine, "Speaker/speak")
            await until_status(db, old.id, "suspended")
        async with driving(dsn, endpoint, remote_protocol_max=after) as engine:
            new = await send(engine, "Speaker/speak")
            for sent in (old, new):
                await until_status(db, sent.id, "suspended")
                await complete(db, sent.id, 17)

            assert [await outcome(engine, sent.id) for sent in (old, new)] == [before, after]
    await assert_healthy(db)


async def test_what_has_recorded_nothing_may_go_on_with_another_version(
    dsn: str, db: Database
) -> None:
    async def script(talk: Talk) -> None:
        await talk.start()
        if talk.attempt == 1:
            talk.end(suspension(future(ANY, -17)))
        else:
            talk.succeed(talk.version)

    async with speaking(script) as endpoint:
        async with driving(dsn, endpoint, remote_protocol_max=7) as engine:
            sent = await send(engine, "Speaker/speak")
            await until_status(db, sent.id, "suspended")
        async with driving(dsn, endpoint, remote_protocol_max=6) as engine:
            await complete(db, sent.id, 17)

            assert await outcome(engine, sent.id) == 6


async def test_an_endpoint_that_is_too_new_is_told_so(dsn: str, db: Database) -> None:
    async with speaking(spoken, versions=(7, 7)) as endpoint:
        async with driving(dsn, endpoint, remote_protocol_max=7) as engine:
            begun = await send(engine, "Speaker/speak")
            await until_status(db, begun.id, "suspended")
        async with driving(dsn, endpoint, remote_protocol_max=6) as engine:
            fresh = await send(engine, "Speaker/speak")
            await until(
                db, "select count(*) > 0 from howdah.failures where invocation_id = $1", fresh.id
            )
            await complete(db, begun.id, 17)

            assert await outcome(engine, begun.id) == 7
            assert set(await failures(db, fresh.id)) == {"RT0013"}
