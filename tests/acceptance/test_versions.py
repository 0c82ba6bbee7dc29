"""Versions: what has begun is finished by the version that began it, unless somebody moves it."""

import asyncio
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest

from acceptance.world import MODES
from howdah import InvocationRetryPolicy, ObjectContext, ObjectSharedContext, VirtualObject
from howdah.ids import parse_awakeable_id
from howdah.machine.entries import Kind
from howdah.store.units import Mail
from support.engines import (
    BOUND_SECONDS,
    assert_healthy,
    result,
    running_engine,
    send,
    submission,
    until,
)

Database: TypeAlias = "asyncpg.Connection[Any]"
PAUSING = InvocationRetryPolicy(initial_interval=timedelta(milliseconds=1), max_attempts=2)


@pytest.fixture(params=["default", "suspending", "replaying"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return MODES[request.param]


def version(name: str, *, is_broken: bool = False) -> VirtualObject:
    """A service that says which version of it answers."""
    service = VirtualObject("Versioned", invocation_retry_policy=PAUSING)

    @service.handler()
    async def which(ctx: ObjectContext) -> str:
        return name

    @service.handler()
    async def block(ctx: ObjectContext) -> list[str]:
        id_, answer = ctx.awakeable(type_hint=str)
        ctx.set("id", id_)
        began = name
        unlocked = await answer
        step = await ctx.run("end", lambda: name)
        return [began, unlocked, step]

    @service.handler(kind="shared")
    async def awakeable(ctx: ObjectSharedContext) -> str | None:
        return await ctx.get("id", type_hint=str)

    @service.handler()
    async def breaks(ctx: ObjectContext) -> str:
        await ctx.run("begin", lambda: name)
        if is_broken:
            raise ValueError(f"{name} is broken")
        return name

    return service


def deployed(name: str, options: dict[str, Any]) -> dict[str, Any]:
    return {"deployment": name, **options}


async def test_a_new_version_gets_what_is_new(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    async with running_engine(dsn, [version("v1")], **deployed("v1", options)) as one:
        assert await result(one, "Versioned/a/which") == "v1"
        async with running_engine(dsn, [version("v2")], **deployed("v2", options)) as two:
            assert await result(two, "Versioned/a/which") == "v2"
            async with asyncio.timeout(BOUND_SECONDS):
                while await result(one, "Versioned/b/which") != "v2":
                    await asyncio.sleep(0.01)
    await assert_healthy(db)


async def test_what_has_begun_is_finished_by_its_version(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    async with running_engine(dsn, [version("v1")], **deployed("v1", options)) as one:
        begun = await one.accept(submission(one, "Versioned/a/block"))
        await until(db, "select value from howdah.state where name = 'id'")
        async with running_engine(dsn, [version("v2")], **deployed("v2", options)) as two:
            target, number = parse_awakeable_id(await result(two, "Versioned/a/awakeable"))
            await two.deliver(Mail(target, Kind.SIGNAL, -number, b'"unlocked"', None))
            assert begun.outcome is not None
            outcome = await asyncio.wait_for(begun.outcome, BOUND_SECONDS)
            assert await result(two, "Versioned/a/which") == "v2"

    assert outcome.value == b'["v1","unlocked","v1"]'
    await assert_healthy(db)


@pytest.mark.parametrize("deployment", ["v2", "latest"])
async def test_what_is_paused_is_moved_to_a_version_that_is_repaired(
    dsn: str, db: Database, options: dict[str, Any], deployment: str
) -> None:
    broken = version("v1", is_broken=True)
    async with running_engine(dsn, [broken], **deployed("v1", options)) as one:
        sent = await send(one, "Versioned/a/breaks")
        await until(db, "select status = 'paused' from howdah.invocations")
        async with running_engine(dsn, [version("v2")], **deployed("v2", options)) as two:
            assert await one.operate("resume", sent.id, deployment) == "done"
            outcome = await asyncio.wait_for(two.attach(sent.id), BOUND_SECONDS)

    assert outcome.value == b'"v2"'
    assert await db.fetchval("select status = 'completed' from howdah.invocations")
    await assert_healthy(db)


async def test_what_is_paused_is_resumed_with_its_own_version(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    broken = version("v1", is_broken=True)
    async with running_engine(dsn, [broken], **deployed("v1", options)) as one:
        sent = await send(one, "Versioned/a/breaks")
        await until(db, "select status = 'paused' from howdah.invocations")
        await one.drain()
    async with (
        running_engine(dsn, [version("v2")], **deployed("v2", options)) as two,
        running_engine(dsn, [version("v1 repaired")], **deployed("v1", options)),
    ):
        assert await two.operate("resume", sent.id, "keep") == "done"
        outcome = await asyncio.wait_for(two.attach(sent.id), BOUND_SECONDS)

    assert outcome.value == b'"v1 repaired"'
    await assert_healthy(db)
