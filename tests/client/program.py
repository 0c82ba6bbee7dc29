"""The services that the clients' tests call: served by a process of their own, and imported here."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from howdah import (
    Context,
    ObjectContext,
    ObjectSharedContext,
    Service,
    TerminalError,
    VirtualObject,
)

shop = Service("Shop")
hidden = Service("Hidden", ingress_private=True)
counter = VirtualObject("Counter")


@dataclass
class Order:
    seat: str
    price_cents: int = 100


@shop.handler()
async def double(ctx: Context, number: int) -> int:
    return 2 * number


@shop.handler()
async def buy(ctx: Context, order: Order) -> Order:
    return Order(order.seat.upper(), order.price_cents + 1)


@shop.handler()
async def describe(ctx: Context, order: Order | None) -> str:
    return "nothing" if order is None else order.seat


@shop.handler()
async def count(ctx: Context, number: int = 7) -> int:
    return number


@shop.handler()
async def nothing(ctx: Context) -> None:
    return None


@shop.handler()
async def raw(ctx: Context, body: bytes) -> bytes:
    return body[::-1]


@shop.handler(accept="image/*", content_type="image/png")
async def picture(ctx: Context, body: bytes) -> bytes:
    return ctx.request().headers["content-type"].encode()


@shop.handler()
async def headers(ctx: Context) -> dict[str, str]:
    return ctx.request().headers


@shop.handler()
async def fail(ctx: Context, code: int) -> str:
    raise TerminalError("out of seats", status_code=code, metadata={"row": "7"})


@shop.handler()
async def rest(ctx: Context, seconds: float) -> str:
    await ctx.sleep(timedelta(seconds=seconds))
    return "rested"


@shop.handler()
async def wait_for_file(ctx: Context, name: str) -> str:
    async def wait() -> None:
        while not Path(name).exists():
            await asyncio.sleep(0.02)

    await ctx.run("wait for the file", wait)
    return "found"


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
async def rest_and_add(ctx: ObjectContext, number: int) -> int:
    """As `add`, with a pause in which the server may be killed."""
    ctx.set("begun", number)
    await ctx.sleep(timedelta(seconds=0.5))
    total = (await ctx.get("total", type_hint=int) or 0) + number
    ctx.set("total", total)
    return total


@counter.handler(kind="shared")
async def begun(ctx: ObjectSharedContext) -> int:
    return await ctx.get("begun", type_hint=int) or 0
