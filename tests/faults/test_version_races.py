"""What a version has not begun is anybody's; what it has begun is its own, whatever happens meanwhile."""

import asyncio
import threading
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg

from howdah import Context, Service, blocking
from support.engines import assert_healthy, running_engine, send, submission, until_true

Database: TypeAlias = "asyncpg.Connection[Any]"


class Version:
    """One version of a service."""

    def __init__(self, name: str) -> None:
        self.may_end = threading.Event()
        self.began = 0
        self.service = service = Service("Versioned")

        @service.handler()
        async def go(ctx: Context) -> str:
            return name

        @service.handler()
        async def naps(ctx: Context) -> str:
            await ctx.sleep(timedelta(milliseconds=300))
            return name

        @service.handler()
        def hold(ctx: blocking.Context) -> str:
            self.began += 1
            self.may_end.wait(20)
            return name


async def test_what_was_to_be_begun_here_is_left_to_a_version_that_came_meanwhile(
    dsn: str, db: Database
) -> None:
    old, new = Version("old"), Version("new")
    async with running_engine(dsn, [old.service], deployment="old") as one:
        async with one.lane.turn:
            # A slot is reserved for it, and it waits for the batch before it.
            asked = asyncio.create_task(one.accept(submission(one, "Versioned/naps")))
            await until_true(lambda: not one.lane.is_settled)
            assert one.free_slots() < one.options.max_resident
            async with running_engine(dsn, [new.service], deployment="new"):
                await until_true(lambda: not one.served)
                one.lane.turn.release()
                accepted = await asyncio.wait_for(asked, 20)
                assert accepted.outcome is not None
                outcome = await asyncio.wait_for(accepted.outcome, 20)
                await one.lane.turn.acquire()
        assert one.free_slots() == one.options.max_resident
    assert outcome.value == b'"new"'
    await assert_healthy(db)


async def test_a_drain_pins_nothing_that_was_not_begun(dsn: str, db: Database) -> None:
    old, new = Version("old"), Version("new")
    options: dict[str, Any] = {"sync_threads_max": 1, "drain_timeout": timedelta(0)}
    async with running_engine(dsn, [old.service], deployment="old", **options) as one:
        await send(one, "Versioned/hold")
        await until_true(lambda: old.began)
        waiting = await send(one, "Versioned/hold")
        await until_true(lambda: one.handler_threads.is_short)
        await one.drain()
        old.may_end.set()
    new.may_end.set()
    async with running_engine(dsn, [new.service], deployment="new") as two:
        outcome = await asyncio.wait_for(two.attach(waiting.id), 20)
    assert outcome.value == b'"new"'
    await assert_healthy(db)
