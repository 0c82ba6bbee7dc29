"""What surrounds an attempt: context managers, the current context, loggers, and its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import howdah.restate as restate
from howdah.restate.extensions import contextvar, current_context
from howdah.restate.server_context import get_extension_data, set_extension_data

logger = restate.getLogger("programs.resources")
opened: list[str] = []
watchers: list[asyncio.Task[None]] = []


@contextvar
@asynccontextmanager
async def connection() -> AsyncIterator[str]:
    opened.append("open")
    try:
        yield "a connection"
    finally:
        opened.append("close")


class Session:
    def __close__(self) -> None:
        opened.append("session closed")


resources = restate.Service("Resources", invocation_context_managers=[connection])


@resources.handler()
async def use(ctx: restate.Context) -> list[Any]:
    assert current_context() is ctx
    set_extension_data(ctx, "session", Session())
    assert isinstance(get_extension_data(ctx, "session"), Session)
    finished = ctx.request().attempt_finished_event

    async def watch() -> None:
        await finished.wait()
        opened.append("attempt over")

    watchers.append(asyncio.create_task(watch()))
    logger.warning("before")
    await ctx.sleep(timedelta(milliseconds=1))
    in_thread = await ctx.run("in a thread", lambda: connection.value)
    logger.warning("after")
    return [connection.value, in_thread, await helper()]


async def helper() -> str:
    """Code that was not given the context."""
    ctx = current_context()
    assert ctx is not None
    return await ctx.run("help", lambda: "helped")
