"""Mistakes that a type checker must find; the lines are marked."""

from dataclasses import dataclass
from typing import Any

from howdah import Context, ObjectContext, ObjectSharedContext, Service, VirtualObject

shop = Service("Shop")
seats = VirtualObject("Seats")


@dataclass
class Order:
    seat: str


@seats.handler()
async def buy(ctx: ObjectContext, order: Order) -> int:
    return len(order.seat)


@seats.handler(kind="shared")
async def history(ctx: ObjectSharedContext) -> list[str]:
    return []


@shop.handler()
def render(ctx: Any, order: Order) -> bytes:
    return order.seat.encode()


@shop.handler()
def ping(ctx: Any) -> float:
    return 1.0


@shop.handler()
async def checkout(ctx: Context, order: Order) -> str:
    await ctx.object_call(buy, key="2B", arg="2B")  # error: another argument
    await ctx.object_call(buy, key="2B", arg=None)  # error: no argument
    await ctx.object_call(buy, key=2, arg=order)  # error: keys are text
    await ctx.object_call(buy, arg=order)  # error: no key
    await ctx.object_call("Seats/buy", key="2B", arg=order)  # error: not a handler
    wrong: str = await ctx.object_call(buy, key="2B", arg=order)  # error: the result is int
    ctx.object_send(buy, key="2B", arg="2B")  # error: another argument
    await ctx.object_send(buy, key="2B", arg=order)  # error: a send is not awaited
    await ctx.service_call(ping, arg=5)  # error: it takes no argument
    await ctx.scope("eu").service_call(ping, arg=5)  # error: it takes no argument
    await ctx.scope("eu").object_call(buy, "2B", order)  # error: objects have no scopes
    await ctx.object_call(history, "2B", order)  # error: it takes no argument
    ctx.object_send(history, key="2B", arg=order)  # error: it takes no argument
    await ctx.service_call(render)  # error: no argument
    await ctx.service_call(render, "2B")  # error: another argument
    late: str = await ctx.service_call(render, order)  # error: the result is bytes
    ctx.service_send(ping, "2B")  # error: it takes no argument
    return wrong + late


@seats.handler(kind="exlusive")  # error
async def misspelt(ctx: ObjectContext) -> None: ...


@seats.handler(timeout=3)  # error
async def unknown_option(ctx: ObjectContext) -> None: ...


@shop.handler()  # error
async def too_many(ctx: Context, one: int, two: int) -> None: ...
