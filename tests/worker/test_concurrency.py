"""No more invocations of a scope, or of a limit key in it, run at once than a rule allows."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest

from howdah import Context, Service, VirtualObject, blocking, gather
from howdah.errors import OutOfBounds, WrongContext
from support.engines import (
    assert_healthy,
    crash,
    result,
    running_engine,
    send,
    until,
    until_true,
)  # fmt: skip

Database: TypeAlias = "asyncpg.Connection[Any]"
RULE = "select howdah.set_limit_rule($1, $2)"


class Program:
    """Handlers that say how many of them run, and wait to be let go on."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.begun: list[str] = []
        self.gate = asyncio.Semaphore(0)
        self.caller = Service("Caller")
        self.limited = Service("Limited")

        @self.limited.handler()
        async def work(ctx: Context, name: str) -> str:
            request = ctx.request()
            where = "/".join(filter(None, (request.scope, request.limit_key)))
            self.begun.append(name)
            self.running[where] += 1
            self.most[where] = max(self.most[where], self.running[where])
            try:
                await self.gate.acquire()
            finally:
                self.running[where] -= 1
            return f"{name} in {where}"

        @self.limited.handler()
        async def ask(ctx: Context, name: str) -> str:
            self.begun.append(name)
            return await ctx.signal("go", type_hint=str)

        @self.limited.handler()
        async def plain(ctx: Context, name: str) -> str:
            return name

        @self.caller.handler()
        async def all_of(ctx: Context, count: int) -> list[str]:
            scope = ctx.scope("shop", "joe")
            calls = [scope.service_call(work, f"call {n}") for n in range(count)]
            return [await call for call in await gather(*calls)]

        @self.caller.handler()
        def in_a_thread(ctx: blocking.Context, name: str) -> list[str]:
            scope = ctx.scope("shop")
            begun = ctx.begin.scope("shop").service_call(plain, f"{name} begun")
            scope.service_send(plain, f"{name} sent")
            return [scope.service_call(plain, name), begun.result()]

        @self.caller.handler()
        async def once(ctx: Context, scope: str) -> str:
            return await ctx.scope(scope).service_call(plain, scope, idempotency_key="same")

        @self.caller.handler()
        async def by_name(ctx: Context, target: dict[str, Any]) -> None:
            await ctx.generic_call(**{**target, "arg": b'"x"'})

        self.work = work
        self.services = [self.caller, self.limited]


@pytest.fixture
def program() -> Program:
    return Program()


HELD = "select count(*) = $1 from howdah.invocations where status = 'held'"


async def test_a_rule_limits_how_many_run_and_the_next_begins_when_one_ends(
    dsn: str, db: Database, program: Program
) -> None:
    await db.execute(RULE, "shop", 2)
    async with running_engine(dsn, program.services) as engine:
        calls = asyncio.create_task(result(engine, "Caller/all_of", 5))
        await until_true(lambda: sorted(program.begun) == ["call 0", "call 1"])
        await until(db, HELD, 3)
        assert await db.fetchval(
            "select array_agg(distinct waiting_for) from howdah.invocations where status = 'held'"
        ) == ["room in scope shop, limit key joe"]
        for begun in (3, 4, 5):
            program.gate.release()
            await until_true(lambda: len(program.begun) == begun)  # noqa: B023 - it is awaited here
        program.gate.release()
        program.gate.release()
        assert await calls == [f"call {n} in shop/joe" for n in range(5)]

    assert program.most == {"shop/joe": 2}
    await assert_healthy(db)


async def test_each_place_has_its_own_count_and_the_most_specific_rule_holds(
    dsn: str, db: Database, program: Program
) -> None:
    for pattern, concurrency in {
        "*": 4, "shop/*": 2, "shop/ann": 3, "shop/ann/*": 1, "free": None,
    }.items():  # fmt: skip
        await db.execute(RULE, pattern, concurrency)
    async with running_engine(dsn, program.services) as engine:
        for scope, key in [("shop", "joe"), ("shop", "ann/a"), ("shop", "ann/b"), ("depot", None),
                           ("free", None)]:  # fmt: skip
            for n in range(6):
                name = f"{scope} {key} {n}"
                await send(engine, "Limited/work", name, scope=scope, limit_key=key)
        # shop: 4 in all, of which joe has at most 2, ann at most 3, each of hers 1.
        await until_true(lambda: len(program.begun) == 4 + 4 + 6)
        await until(db, HELD, 30 - 14)
        rows = await db.fetch(
            "select place, running, waiting, concurrency, pattern, available"
            " from howdah.limits order by place"
        )
        assert [tuple(row) for row in rows] == [
            ("depot", 4, 2, 4, "*", 0),
            ("free", 6, 0, None, "free", None),
            ("shop", 4, 14, 4, "*", 0),
            ("shop/ann", 2, 10, 3, "shop/ann", 1),
            ("shop/ann/a", 1, 5, 1, "shop/ann/*", 0),
            ("shop/ann/b", 1, 5, 1, "shop/ann/*", 0),
            ("shop/joe", 2, 4, 2, "shop/*", 0),
        ]
        for _ in range(30):
            program.gate.release()
        await until(db, "select count(*) = 30 from howdah.invocations where status = 'completed'")

    assert program.most["shop/joe"] == 2
    assert program.most["shop/ann/a"] == program.most["shop/ann/b"] == 1
    assert program.most["depot"] == 4
    await assert_healthy(db)


async def test_many_processes_together_never_run_more(
    dsn: str, db: Database, program: Program
) -> None:
    await db.execute(RULE, "shop/*", 3)
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(running_engine(dsn, program.services)) for _ in range(3)
        ]
        for n in range(60):
            await send(engines[n % 3], "Limited/work", str(n), scope="shop", limit_key=f"t{n % 2}")
        for _ in range(60):
            program.gate.release()
        await until(db, "select count(*) = 60 from howdah.invocations where status = 'completed'")

    assert program.most == {"shop/t0": 3, "shop/t1": 3}
    assert Counter(program.begun) == {str(n): 1 for n in range(60)}
    await assert_healthy(db)


async def test_a_changed_rule_holds_at_once(dsn: str, db: Database, program: Program) -> None:
    await db.execute(RULE, "shop", 0)
    async with running_engine(dsn, program.services) as engine:
        for n in range(3):
            await send(engine, "Limited/work", str(n), scope="shop")
        await until(db, HELD, 3)
        assert program.begun == []
        await db.execute(RULE, "shop", 1)
        await until_true(lambda: len(program.begun) == 1)
        assert await db.fetchval("select howdah.delete_limit_rule('shop')") is True
        await until_true(lambda: len(program.begun) == 3)
        for _ in range(3):
            program.gate.release()
        await until(db, "select count(*) = 3 from howdah.invocations where status = 'completed'")
    assert await db.fetchval("select howdah.delete_limit_rule('shop')") is False


async def test_what_is_suspended_is_not_counted_and_waits_for_its_turn_again(
    dsn: str, db: Database, program: Program
) -> None:
    await db.execute(RULE, "shop", 1)
    async with running_engine(dsn, program.services, inactivity_timeout=timedelta(0)) as engine:
        asking = await send(engine, "Limited/ask", "asking", scope="shop")
        await until(
            db, "select status = 'suspended' from howdah.invocations where id = $1", asking.id
        )
        working = await send(engine, "Limited/work", "working", scope="shop")
        await until_true(lambda: program.begun == ["asking", "working"])
        await db.execute("select howdah.signal($1, 'go', '\"now\"')", asking.id)
        await until(
            db,
            "select waiting_for = 'room in scope shop' and status = 'ready'"
            " from howdah.invocations where id = $1",
            asking.id,
        )
        program.gate.release()
        await until(
            db, "select output_json = '\"now\"' from howdah.invocations where id = $1", asking.id
        )
        assert program.begun == ["asking", "working", "asking"]
        assert await db.fetchval(
            "select outcome from howdah.invocations where id = $1", working.id
        ) == "succeeded"  # fmt: skip
    await assert_healthy(db)


async def test_the_slots_of_a_process_that_died_are_free_again(
    dsn: str, db: Database, program: Program
) -> None:
    await db.execute(RULE, "shop", 1)
    async with running_engine(dsn, program.services) as survivor:
        async with running_engine(dsn, program.services) as engine:
            survivor.serve_nothing()
            first = await send(engine, "Limited/work", "first", scope="shop")
            await until_true(lambda: program.begun == ["first"])
            await send(engine, "Limited/work", "second", scope="shop")
            await until(db, HELD, 1)
            await crash(engine, db)
        await survivor.reload_registry()
        await until_true(lambda: len(program.begun) == 2)
        assert await db.fetchval(HELD, 1) or await db.fetchval(
            "select status = 'ready' from howdah.invocations where id = $1", first.id
        )
        program.gate.release()
        program.gate.release()
        await until(db, "select count(*) = 2 from howdah.invocations where status = 'completed'")
    assert program.most == {"shop": 1}
    await assert_healthy(db)


async def test_sync_handlers_call_in_scopes(dsn: str, db: Database, program: Program) -> None:
    async with running_engine(dsn, program.services, always_replay=True) as engine:
        assert await result(engine, "Caller/in_a_thread", "a") == ["a", "a begun"]
        await until(db, "select count(*) = 4 from howdah.invocations where status = 'completed'")
    rows = await db.fetch("select scope from howdah.invocations where service = 'Limited'")
    assert [row["scope"] for row in rows] == ["shop"] * 3


async def test_the_scope_is_part_of_what_is_idempotent(
    dsn: str, db: Database, program: Program
) -> None:
    async with running_engine(dsn, program.services) as engine:
        assert [await result(engine, "Caller/once", scope) for scope in "abab"] == list("abab")
        submitted = [
            await send(engine, "Limited/plain", "x", idempotency_key="same", scope=scope)
            for scope in ("a", None, "a")
        ]
    assert submitted[0].id == submitted[2].id != submitted[1].id
    count = await db.fetchval("select count(*) from howdah.invocations where service = 'Limited'")
    assert count == 3
    await assert_healthy(db)


async def test_a_delayed_send_is_held_when_it_is_due(
    dsn: str, db: Database, program: Program
) -> None:
    await db.execute(RULE, "shop", 1)
    async with running_engine(dsn, program.services) as engine:
        await send(engine, "Limited/work", "now", scope="shop")
        await until_true(lambda: program.begun == ["now"])
        delay = timedelta(milliseconds=20)
        late = await send(engine, "Limited/work", "late", scope="shop", delay=delay)
        await until(
            db,
            "select run_at <= howdah_core.clock() from howdah_core.live where id = $1",
            late.id,
        )
        program.gate.release()
        await until_true(lambda: program.begun == ["now", "late"])
        program.gate.release()
        await until(db, "select count(*) = 2 from howdah.invocations where status = 'completed'")
    await assert_healthy(db)


async def test_what_is_held_can_be_cancelled_and_killed_and_neither_paused_nor_resumed(
    dsn: str, db: Database, program: Program
) -> None:
    await db.execute(RULE, "shop", 0)
    async with running_engine(dsn, program.services) as engine:
        held = [await send(engine, "Limited/work", verb, scope="shop") for verb in "ck"]
        await until(db, HELD, 2)
        assert await engine.operate("pause", held[0].id) == "not running"
        assert await engine.operate("resume", held[0].id) == "not started"
        assert (await engine.restart_as_new(held[0].id, 0, None))[0] == "not started"
        assert await engine.operate("cancel", held[0].id) == "done"
        assert await engine.operate("kill", held[1].id) == "done"
    rows = await db.fetch("select failure from howdah.invocations order by id")
    assert [row["failure"] for row in rows] == ["[409] canceled", "[409] killed"]
    assert program.begun == []
    await assert_healthy(db)


async def test_what_is_paused_gives_its_slot_up_and_goes_on_in_its_turn(
    dsn: str, db: Database, program: Program
) -> None:
    await db.execute(RULE, "shop", 1)
    async with running_engine(dsn, program.services) as engine:
        first = await send(engine, "Limited/work", "first", scope="shop")
        await until_true(lambda: program.begun == ["first"])
        await send(engine, "Limited/work", "second", scope="shop")
        assert await engine.operate("pause", first.id) == "accepted"
        await until_true(lambda: program.begun == ["first", "second"])
        assert await engine.operate("resume", first.id, "latest") == "done"
        assert await db.fetchval("select q < 0 from howdah_core.live where id = $1", first.id)
        program.gate.release()
        await until_true(lambda: program.begun == ["first", "second", "first"])
        program.gate.release()
        await until(db, "select count(*) = 2 from howdah.invocations where status = 'completed'")
    await assert_healthy(db)


async def test_a_restarted_invocation_stays_in_its_scope(
    dsn: str, db: Database, program: Program
) -> None:
    async with running_engine(dsn, program.services) as engine:
        old = await send(engine, "Limited/plain", "x", scope="shop", limit_key="joe")
        await until(db, "select status = 'completed' from howdah.invocations")
        await db.execute(RULE, "shop/joe", 0)
        word, new_id = await engine.restart_as_new(old.id, 0, None)
        assert word == "done"
        await until(db, HELD, 1)
        await db.execute(RULE, "shop/joe", 1)
        await until(db, "select status = 'completed' from howdah.invocations where id = $1", new_id)
    row = await db.fetchrow("select scope, limit_key from howdah.invocations where id = $1", new_id)
    assert row is not None
    assert tuple(row) == ("shop", "joe")


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ({"service": "Thing", "handler": "use", "key": "k", "scope": "s"}, WrongContext),
        ({"service": "Limited", "handler": "plain", "scope": ""}, OutOfBounds),
        ({"service": "Limited", "handler": "plain", "scope": "a b"}, OutOfBounds),
        ({"service": "Limited", "handler": "plain", "scope": "s" * 37}, OutOfBounds),
        ({"service": "Limited", "handler": "plain", "limit_key": "l"}, OutOfBounds),
        ({"service": "Limited", "handler": "plain", "scope": "s", "limit_key": "a/b/c"}, OutOfBounds),
        ({"service": "Limited", "handler": "plain", "scope": "s", "limit_key": "a/"}, OutOfBounds),
    ],
)  # fmt: skip
async def test_a_scope_that_is_none_is_refused_and_nothing_is_recorded(
    dsn: str, db: Database, program: Program, target: dict[str, Any], error: type[Exception]
) -> None:
    thing = VirtualObject("Thing")

    @thing.handler()
    async def use(ctx: Context) -> None:
        raise AssertionError

    async with running_engine(dsn, [*program.services, thing]) as engine:
        invocation = await send(engine, "Caller/by_name", target)
        failure = await until(db, "select last_failure from howdah.invocations")
        assert error.__name__ in failure
        assert await db.fetchval("select count(*) from howdah.invocations") == 1
        assert await engine.operate("kill", invocation.id) == "done"
