"""The services that the tests of the command line operate on."""

import asyncio
from datetime import timedelta
from pathlib import Path

from howdah import (
    Context,
    InvocationRetryPolicy,
    ObjectContext,
    ObjectSharedContext,
    Service,
    TerminalError,
    VirtualObject,
    Workflow,
    WorkflowContext,
)

payments = Service("Payments", description="Takes money.\nAnd gives it back.")
cart = VirtualObject("Cart")
signup = Workflow("Signup")


@payments.handler()
async def charge(ctx: Context, amount: int) -> int:
    """Charge a card."""

    async def ask_bank() -> int:
        return amount

    return await ctx.run("ask the bank", ask_bank)


@payments.handler()
async def wait(ctx: Context) -> str:
    await ctx.sleep(timedelta(hours=1), name="cool down")
    return "rested"


@payments.handler()
async def decline(ctx: Context) -> None:
    raise TerminalError("no money", status_code=402)


@payments.handler(
    invocation_retry_policy=InvocationRetryPolicy(
        initial_interval=timedelta(milliseconds=1), max_attempts=2
    )
)
async def break_down(ctx: Context, name: str) -> str:
    """Fail until the file `name` is there; paused after two attempts."""
    if not Path(name).exists():
        raise ValueError("the till is stuck")
    return "repaired"


@payments.handler()
async def approve(ctx: Context) -> str:
    return await ctx.signal("approved", type_hint=str)


@payments.handler()
async def confirm(ctx: Context, name: str) -> str:
    """Write an awakeable's id into the file `name`, and wait for it."""
    id_, answer = ctx.awakeable(type_hint=str)

    async def publish() -> None:
        await asyncio.to_thread(Path(name).write_text, id_)

    await ctx.run("publish", publish)
    return await answer


@cart.handler()
async def add(ctx: ObjectContext, ticket: str) -> int:
    tickets = await ctx.get("tickets", type_hint=list[str]) or []
    ctx.set("tickets", [*tickets, ticket])
    return len(tickets) + 1


@cart.handler()
async def hold(ctx: ObjectContext, name: str) -> str:
    """Hold the key until the file `name` is there."""

    async def wait() -> None:
        while not Path(name).exists():
            await asyncio.sleep(0.02)

    await ctx.run("wait for the file", wait)
    return "released"


@cart.handler()
async def check_out(ctx: ObjectContext) -> str:
    return await ctx.service_call(wait, None)


@cart.handler(kind="shared")
async def tickets(ctx: ObjectSharedContext) -> list[str]:
    return await ctx.get("tickets", type_hint=list[str]) or []


@signup.main()
async def run(ctx: WorkflowContext, name: str) -> str:
    ctx.set("name", name)
    return name
