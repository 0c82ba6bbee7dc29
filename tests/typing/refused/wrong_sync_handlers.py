"""Mistakes in sync handlers that a type checker must find; the lines are marked."""

from datetime import timedelta

import howdah
from howdah import Service, VirtualObject, blocking

shop = Service("Shop")
seats = VirtualObject("Seats")


@seats.handler()
def buy(ctx: blocking.ObjectContext, count: int) -> int:
    return count


@seats.handler(kind="shared")
def history(ctx: blocking.ObjectSharedContext) -> list[str]:
    ctx.set("x", 1)  # error: only an exclusive handler writes state
    return []


@shop.handler()
def ping(ctx: blocking.Context) -> float:
    return 1.0


def wrong(ctx: blocking.Context) -> None:
    ctx.object_call(buy, "2B", "two")  # error: not an int
    ctx.object_call(buy, "2B")  # error: an argument is missing
    ctx.service_call(ping, 5)  # error: it takes none
    text: str = ctx.object_call(buy, "2B", 2)  # error: it returns an int
    ctx.begin.object_call(buy, "2B", "two")  # error: not an int
    number: int = ctx.begin.object_call(buy, "2B", 2)  # error: it is a future
    ctx.object_send(buy, "2B", "two")  # error: not an int
    ctx.sleep(5)  # error: not a timedelta
    ctx.get("x")  # error: a service has no state
    blocking.gather(ctx.service_call(ping))  # error: a value, not a future
    howdah.gather(ctx.begin.sleep(timedelta(0)))  # error: that is for async handlers
    assert text
    assert number


async def awaited(ctx: blocking.Context) -> None:
    await ctx.service_call(ping)  # error: it is there already
    await ctx.begin.service_call(ping)  # error: ask for its result
