"""Versions of an endpoint: what has begun is finished by the version that began it."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
import restate

from acceptance.effects import effects
from sdk.world import HttpWorld
from support.engines import BOUND_SECONDS
from support.sdk import serving_app

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAUSING = restate.InvocationRetryPolicy(initial_interval=timedelta(milliseconds=1), max_attempts=2)


def version(service: str, name: str, *, is_broken: bool = False) -> restate.VirtualObject:
    """A service that says which version of it answers."""
    versioned = restate.VirtualObject(service, invocation_retry_policy=PAUSING)

    @versioned.handler()
    async def which(ctx: restate.ObjectContext) -> str:
        return name

    @versioned.handler()
    async def block(ctx: restate.ObjectContext) -> list[str]:
        id_, answer = ctx.awakeable(type_hint=str)
        ctx.set("id", id_)
        began = name
        unlocked = await answer
        return [began, unlocked, await ctx.run_typed("end", lambda: name)]

    @versioned.handler(kind="shared")
    async def awakeable(ctx: restate.ObjectSharedContext) -> str | None:
        return await ctx.get("id", type_hint=str)

    @versioned.handler()
    async def breaks(ctx: restate.ObjectContext) -> str:
        drawn = await ctx.run_typed("begin", lambda: name)
        if is_broken and not effects[f"{service} repaired"]:
            raise ValueError(f"{name} is broken")
        return f"{drawn} {name}"

    return versioned


class Versions:
    """Endpoints of one test, registered one after the other."""

    def __init__(self, world: HttpWorld, service: str, stack: AsyncExitStack) -> None:
        self._world = world
        self.service = service
        self._stack = stack

    async def add(self, name: str, *, is_broken: bool = False) -> str:
        """Serve and register a version; returns its deployment."""
        app = restate.app([version(self.service, name, is_broken=is_broken)])
        uri = await self._stack.enter_async_context(serving_app(app))
        return await self._world.register(uri)


async def test_a_new_version_gets_what_is_new(world: HttpWorld, key: str) -> None:
    async with AsyncExitStack() as stack:
        versions = Versions(world, f"Versioned{key}", stack)
        await versions.add("v1")
        assert await world.call(f"{versions.service}/a/which") == "v1"

        await versions.add("v2")

        assert await world.call(f"{versions.service}/a/which") == "v2"


async def test_what_has_begun_is_finished_by_its_version(world: HttpWorld, key: str) -> None:
    async with AsyncExitStack() as stack:
        versions = Versions(world, f"Versioned{key}", stack)
        await versions.add("v1")
        begun = await world.send(f"{versions.service}/a/block")
        name = await world.eventually(f"{versions.service}/a/awakeable")

        await versions.add("v2")
        await world.complete_awakeable(name, "unlocked")

        assert await world.attach(begun) == ["v1", "unlocked", "v1"]
        assert await world.call(f"{versions.service}/a/which") == "v2"


@pytest.mark.parametrize("deployment", ["v2", "latest"])
async def test_what_is_paused_is_moved_to_a_version_that_is_repaired(
    world: HttpWorld, key: str, deployment: str
) -> None:
    async with AsyncExitStack() as stack:
        versions = Versions(world, f"Versioned{key}", stack)
        await versions.add("v1", is_broken=True)
        id_ = await world.send(f"{versions.service}/a/breaks")
        await world.until_status(id_, "paused")

        repaired = await versions.add("v2")
        await world.resume(id_, repaired if deployment == "v2" else deployment)

        # The step is the first version's, the rest the second's.
        assert await world.attach(id_) == "v1 v2"
        assert await world.status(id_) == "completed"


async def test_what_is_paused_goes_on_with_its_own_version(world: HttpWorld, key: str) -> None:
    async with AsyncExitStack() as stack:
        versions = Versions(world, f"Versioned{key}", stack)
        await versions.add("v1", is_broken=True)
        id_ = await world.send(f"{versions.service}/a/breaks")
        await world.until_status(id_, "paused")
        await versions.add("v2")

        await world.allow(f"{versions.service} repaired")
        await world.resume(id_)

        assert await world.attach(id_) == "v1 v1"


async def test_a_deployment_is_moved_under_what_waits(world: HttpWorld, key: str) -> None:
    async with AsyncExitStack() as stack:
        versions = Versions(world, f"Versioned{key}", stack)
        deployment = await versions.add("v1")
        begun = await world.send(f"{versions.service}/a/block")
        name = await world.eventually(f"{versions.service}/a/awakeable")
        await world.until_status(begun, "suspended")

        app = restate.app([version(versions.service, "v1, moved")])
        uri = await stack.enter_async_context(serving_app(app))
        moved = await world.admin.patch(f"/deployments/{deployment}", json={"uri": uri})
        assert moved.status_code == 200, moved.text
        await world.complete_awakeable(name, "unlocked")

        assert await world.attach(begun) == ["v1, moved", "unlocked", "v1, moved"]


async def test_a_call_to_what_is_not_registered_yet_waits_for_it(
    world: HttpWorld, key: str
) -> None:
    async with AsyncExitStack() as stack:
        versions = Versions(world, f"Versioned{key}", stack)
        wanted = {"service": versions.service, "key": "a", "handler": "which", "argument": ""}
        id_ = await world.send("Proxy/call", wanted)
        failed = "select count(*) from howdah.failures where invocation_id = $1"
        async with asyncio.timeout(BOUND_SECONDS):
            while not await world.db.fetchval(failed, id_):
                await asyncio.sleep(0.01)

        await versions.add("v1")

        assert await world.attach(id_) == '"v1"'
