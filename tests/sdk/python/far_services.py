"""The same services as in near_services.py, the other way round, written with the official SDK."""

import json
from datetime import timedelta
from typing import Any

from restate import (
    Context,
    InvocationRetryPolicy,
    ObjectContext,
    ObjectSharedContext,
    Service,
    TerminalError,
    VirtualObject,
)

SOON = InvocationRetryPolicy(initial_interval=timedelta(milliseconds=1))

far = VirtualObject("Far", invocation_retry_policy=SOON)
caller = Service("FarCaller", invocation_retry_policy=SOON)


@far.handler()
async def add(ctx: ObjectContext, number: int) -> int:
    total = (await ctx.get("total", type_hint=int) or 0) + number
    ctx.set("total", total)
    return total


@far.handler()
async def countdown(ctx: ObjectContext, number: int) -> list[str]:
    """Count down, each number on the other side: `Far/n` calls `Near/n-1`, which calls `Far/n-2`."""
    if not number:
        return ["far 0"]
    below = await ctx.generic_call(
        "Near", "countdown", json.dumps(number - 1).encode(), key=f"{ctx.key()}-"
    )
    return [f"far {number}", *json.loads(below)]


@far.handler()
async def hold(ctx: ObjectContext, depth: int) -> None:
    """Hold this key and, below, keys of the other side; the deepest waits for what never comes."""
    ctx.set("cancelled", False)
    try:
        if depth:
            argument = json.dumps(depth - 1).encode()
            await ctx.generic_call("Near", "hold", argument, key=f"{ctx.key()}-")
        else:
            await ctx.sleep(timedelta(hours=1))
    except TerminalError:
        ctx.set("cancelled", True)
        raise


@far.handler()
async def was_cancelled(ctx: ObjectContext) -> bool | None:
    return await ctx.get("cancelled", type_hint=bool)


@far.handler()
async def ask(ctx: ObjectContext) -> str:
    """Let the other side resolve an awakeable."""
    name, answer = ctx.awakeable(type_hint=str)
    ctx.generic_send("NearCaller", "resolve", json.dumps([name, "from nearby"]).encode())
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
        await ctx.generic_call("NearCaller", "fail", json.dumps(message).encode())
    except TerminalError as error:
        return [error.status_code, error.message, error.metadata]
    return []


@caller.handler()
async def once(ctx: Context, key: str) -> list[str]:
    """Call an object of the other side twice with one idempotency key."""
    calls = [
        ctx.generic_call("Near", "add", b"1", key=key, idempotency_key="once") for _ in range(2)
    ]
    return [(await call).decode() for call in calls]


@caller.handler()
async def signal(ctx: Context) -> str:
    """Start the other side, signal it, and attach to it."""
    sent = ctx.generic_send("NearCaller", "receive", b"")
    id_ = await sent.invocation_id()
    ctx.resolve_signal(id_, "word", "hello")
    return await ctx.attach_invocation(id_, type_hint=str)


@caller.handler()
async def receive(ctx: Context) -> str:
    return await ctx.signal("word", type_hint=str)


@far.handler(kind="shared")
async def total(ctx: ObjectSharedContext) -> int:
    return await ctx.get("total", type_hint=int) or 0
