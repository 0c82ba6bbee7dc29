"""Services that howdah executes itself, beside those of an endpoint: see neighbours.py."""

import json
from datetime import timedelta
from typing import Any

from howdah import (
    Cancelled,
    Context,
    InvocationRetryPolicy,
    ObjectContext,
    ObjectSharedContext,
    Service,
    TerminalError,
    VirtualObject,
)

SOON = InvocationRetryPolicy(initial_interval=timedelta(milliseconds=1))

near = VirtualObject("Near", invocation_retry_policy=SOON)
caller = Service("NearCaller", invocation_retry_policy=SOON)


@near.handler()
async def add(ctx: ObjectContext, number: int) -> int:
    total = (await ctx.get("total", type_hint=int) or 0) + number
    ctx.set("total", total)
    return total


@near.handler()
async def countdown(ctx: ObjectContext, number: int) -> list[str]:
    """Count down, each number on the other side: `Near/n` calls `Far/n-1`, which calls `Near/n-2`."""
    if not number:
        return ["near 0"]
    below = await ctx.generic_call(
        "Far", "countdown", json.dumps(number - 1).encode(), key=f"{ctx.key()}-"
    )
    return [f"near {number}", *json.loads(below)]


@near.handler()
async def hold(ctx: ObjectContext, depth: int) -> None:
    """Hold this key and, below, keys of the other side; the deepest waits for what never comes."""
    ctx.set("cancelled", False)
    try:
        if depth:
            argument = json.dumps(depth - 1).encode()
            await ctx.generic_call("Far", "hold", argument, key=f"{ctx.key()}-")
        else:
            await ctx.sleep(timedelta(hours=1))
    except Cancelled:
        ctx.set("cancelled", True)
        raise


@near.handler()
async def was_cancelled(ctx: ObjectContext) -> bool | None:
    return await ctx.get("cancelled", type_hint=bool)


@near.handler()
async def ask(ctx: ObjectContext) -> str:
    """Let the other side resolve an awakeable."""
    name, answer = ctx.awakeable(type_hint=str)
    ctx.generic_send("FarCaller", "resolve", json.dumps([name, "from afar"]).encode())
    return await answer


@caller.handler()
async def resolve(ctx: Context, what: list[str]) -> None:
    ctx.resolve_awakeable(what[0], what[1])


@caller.handler()
async def fail(ctx: Context, message: str) -> None:
    raise TerminalError(message, 418, {"key": "value"})


@caller.handler()
async def catch(ctx: Context, message: str) -> list[Any]:
    """What a failure of the other side looks like here."""
    try:
        await ctx.generic_call("FarCaller", "fail", json.dumps(message).encode())
    except TerminalError as error:
        return [error.status_code, error.message, error.metadata]
    return []


@caller.handler()
async def once(ctx: Context, key: str) -> list[str]:
    """Call an object of the other side twice with one idempotency key."""
    calls = [
        ctx.generic_call("Far", "add", b"1", key=key, idempotency_key="once") for _ in range(2)
    ]
    return [(await call).decode() for call in calls]


@caller.handler()
async def signal(ctx: Context) -> str:
    """Start the other side, signal it, and attach to it."""
    sent = ctx.generic_send("FarCaller", "receive", b"")
    id_ = await sent.invocation_id()
    ctx.resolve_signal(id_, "word", "hello")
    return await ctx.attach_invocation(id_, type_hint=str)


@caller.handler()
async def receive(ctx: Context) -> str:
    return await ctx.signal("word", type_hint=str)


@near.handler(kind="shared")
async def total(ctx: ObjectSharedContext) -> int:
    return await ctx.get("total", type_hint=int) or 0
