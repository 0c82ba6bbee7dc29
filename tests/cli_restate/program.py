"""The services that these tests look at and steer, served by howdah itself."""

import asyncio
from datetime import timedelta
from pathlib import Path

from howdah import Context, ObjectContext, Service, VirtualObject

orders = Service("Orders")
cart = VirtualObject("Cart")


@orders.handler()
async def place(ctx: Context, item: str) -> str:
    """Place an order, and wait until somebody approves it."""
    number = await ctx.run_typed("reserve", reserve, item=item)
    verdict = await ctx.signal("verdict", type_hint=str)
    return f"{number} is {verdict}"


async def reserve(item: str) -> str:
    """A step."""
    return f"{item}-1"


@orders.handler()
async def pack(ctx: Context, name: str) -> str:
    """Run until the file `name` is there."""

    async def wait() -> str:
        while not Path(name).exists():
            await asyncio.sleep(0.02)
        return "packed"

    return await ctx.run_typed("wait for the file", wait)


@orders.handler()
async def charge(ctx: Context, name: str) -> str:
    """Fail until the file `name` is there."""
    if not Path(name).exists():
        raise RuntimeError("the bank is closed")
    return "charged"


@cart.handler()
async def add(ctx: ObjectContext, item: str) -> int:
    """Put an item into the cart, which is emptied in an hour."""
    items = [*(await ctx.get("items", type_hint=list[str]) or []), item]
    ctx.set("items", items)
    ctx.object_send(clear, ctx.key(), None, send_delay=timedelta(hours=1))
    return len(items)


@cart.handler()
async def clear(ctx: ObjectContext, _: None) -> None:
    """Empty the cart."""
    ctx.clear("items")


@cart.handler()
async def check_out(ctx: ObjectContext) -> str:
    """Keep the cart until the order for it is approved."""
    return await ctx.service_call(place, ctx.key())
