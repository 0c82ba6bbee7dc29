"""Calls infer argument and result from the handler that is called."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from howdah import (
    Context,
    ObjectContext,
    ObjectSharedContext,
    SendHandle,
    Service,
    VirtualObject,
)

shop = Service("Shop")
seats = VirtualObject("Seats")


@dataclass
class Order:
    seat: str
    price_cents: int


@seats.handler()
async def reserve(ctx: ObjectContext, arg: None) -> bool:
    return await ctx.get("holder", type_hint=str) is None


@seats.handler(kind="shared")
async def history(ctx: ObjectSharedContext) -> list[str]:
    return await ctx.get("history", type_hint=list[str]) or []


@seats.handler("buy", inactivity_timeout=timedelta(seconds=5))
async def buy(ctx: ObjectContext, order: Order) -> int:
    return order.price_cents


@shop.handler()
async def quote(ctx: Context, order: Order | None) -> str:
    return "free" if order is None else str(order.price_cents)


@shop.handler()
async def again(ctx: Context, order: Order | None = None) -> str:
    return "again"


@seats.handler()
async def release(ctx: ObjectContext) -> None: ...


@shop.handler()
def render(ctx: Any, order: Order) -> bytes:
    return b""


@shop.handler()
def ping(ctx: Any) -> float:
    return 1.0


@shop.handler()
async def checkout(ctx: Context, order: Order) -> str:
    assert_type(await ctx.object_call(reserve, key=order.seat, arg=None), bool)
    assert_type(await ctx.object_call(history, key=order.seat, arg=None), list[str])
    future = ctx.object_call(buy, key=order.seat, arg=order)
    assert_type(await future, int)
    assert_type(await future.invocation_id(), str)
    assert_type(await ctx.service_call(quote, arg=None), str)
    assert_type(await ctx.service_call(quote, arg=order), str)
    assert_type(await ctx.service_call(again, order), str)
    assert_type(await ctx.service_call(again), str)
    assert_type(await ctx.object_call(history, order.seat), list[str])
    assert_type(await ctx.object_call(release, order.seat), None)
    assert_type(await ctx.service_call(render, arg=order), bytes)
    assert_type(await ctx.service_call(ping), float)
    assert_type(await ctx.scope("eu", "joe").service_call(quote, order), str)
    assert_type(ctx.scope("eu").service_send(ping), SendHandle)
    assert_type(ctx.service_send(ping), SendHandle)
    assert_type(ctx.service_send(render, order, headers={"a": "b"}), SendHandle)
    assert_type(ctx.object_send(history, order.seat), SendHandle)
    raw = ctx.generic_call("Shop", "render", b"{}", idempotency_key="1")
    assert_type(await raw, bytes)
    assert_type(ctx.generic_send("Seats", "buy", b"{}", key="2B"), SendHandle)
    sent = ctx.object_send(buy, key=order.seat, arg=order, send_delay=timedelta(minutes=15))
    return await sent.invocation_id()


async def also_plain_calls(ctx: ObjectContext, order: Order) -> None:
    """The decorator leaves a function's own signature as it is."""
    assert_type(await reserve(ctx, None), bool)
    assert_type(await buy(ctx, order), int)
    assert_type(render(ctx, order), bytes)
