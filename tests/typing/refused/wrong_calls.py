"""Mistakes that a type checker must find; the lines are marked."""

from dataclasses import dataclass

from howdah import Context, ObjectContext, Service, VirtualObject

shop = Service("Shop")
seats = VirtualObject("Seats")


@dataclass
class Order:
    seat: str


@seats.handler()
async def buy(ctx: ObjectContext, order: Order) -> int:
    return len(order.seat)


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
    return wrong


@seats.handler(kind="exlusive")  # error
async def misspelt(ctx: ObjectContext) -> None: ...


@seats.handler(timeout=3)  # error
async def unknown_option(ctx: ObjectContext) -> None: ...
