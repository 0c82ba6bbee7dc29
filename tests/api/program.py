"""The services that the API's tests call, served by a process of their own."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

from howdah import (
    Context,
    ObjectContext,
    ObjectSharedContext,
    Service,
    TerminalError,
    VirtualObject,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
)

echo = Service("Echo")
hidden = Service("Hidden", ingress_private=True)
counter = VirtualObject("Counter", description="Counts.", metadata={"team": "seats"})
approval = Workflow("Approval")
secret_plan = Workflow("SecretPlan", ingress_private=True)


@echo.handler()
async def back(ctx: Context, body: bytes) -> bytes:
    return body


@echo.handler()
async def double(ctx: Context, number: int) -> int:
    return 2 * number


@echo.handler()
async def nothing(ctx: Context) -> None:
    return None


@echo.handler()
async def headers(ctx: Context) -> dict[str, str]:
    return ctx.request().headers


@echo.handler()
async def fail(ctx: Context, code: int) -> None:
    raise TerminalError("out of seats", status_code=code, metadata={"row": "7"})


@echo.handler()
async def pause(ctx: Context, seconds: float) -> str:
    await ctx.sleep(timedelta(seconds=seconds))
    return "rested"


@echo.handler()
async def touch(ctx: Context, name: str) -> str:
    """Wait until the file `name` is there, then make the file `name.done`."""

    async def wait() -> None:
        while not Path(name).exists():
            await asyncio.sleep(0.02)
        Path(f"{name}.done").touch()

    await ctx.run("wait for the file", wait)
    return "touched"


@echo.handler()
async def process(ctx: Context) -> int:
    return os.getpid()


@hidden.handler()
async def secret(ctx: Context) -> str:
    return "secret"


@counter.handler()
async def add(ctx: ObjectContext, number: int) -> int:
    total = (await ctx.get("total", type_hint=int) or 0) + number
    ctx.set("total", total)
    return total


@counter.handler(kind="shared")
async def total(ctx: ObjectSharedContext) -> int:
    return await ctx.get("total", type_hint=int) or 0


@counter.handler()
async def own_key(ctx: ObjectContext) -> str:
    return ctx.key()


@counter.handler()
async def hold(ctx: ObjectContext) -> bytes:
    """Hold the key until an awakeable is resolved, whose id is in the state meanwhile."""
    id_, value = ctx.awakeable(type_hint=bytes)
    ctx.set("awakeable", id_)
    return await value


@counter.handler(kind="shared")
async def awakeable(ctx: ObjectSharedContext) -> str | None:
    return await ctx.get("awakeable", type_hint=str)


@approval.main()
async def run(ctx: WorkflowContext, amount: int) -> str:
    who = await ctx.promise("decision", type_hint=str).value()
    return f"{amount} approved by {who}"


@approval.handler()
async def approve(ctx: WorkflowSharedContext, who: str) -> None:
    await ctx.promise("decision", type_hint=str).resolve(who)


@secret_plan.main("run")
async def run_secret(ctx: WorkflowContext) -> str:
    return "secret"
