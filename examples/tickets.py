"""A ticket shop: carts that reserve seats, and seats that give themselves back.

    howdah serve examples/tickets.py
    howdah invoke CartObject/joe/addTicket '"seat2B"'

Every seat is a `TicketObject`, every customer has a `CartObject`. A key has one writer at a time,
so a seat is never reserved twice. What happens survives a crash at any line.

    TICKETS_HOLD_SECONDS    how long a seat stays reserved without a checkout (900)
    TICKETS_VENUE_SECONDS   how long the venue's booking system takes to answer; 0 leaves it out (0)
"""

import asyncio
import os
from datetime import timedelta

from howdah import ObjectContext, ObjectSharedContext, VirtualObject

HOLD = timedelta(seconds=float(os.environ.get("TICKETS_HOLD_SECONDS", "900")))
VENUE_SECONDS = float(os.environ.get("TICKETS_VENUE_SECONDS", "0"))

cart = VirtualObject("CartObject", description="What one customer is about to buy.")
ticket = VirtualObject("TicketObject", description="One seat: available, reserved or sold.")


@cart.handler()
async def addTicket(ctx: ObjectContext, ticket_id: str) -> bool:
    """Reserve a seat and put it into the cart; false when somebody else has it."""
    reserved = await ctx.object_call(reserve, key=ticket_id, arg=None)
    if reserved:
        seats = await ctx.get("cart", type_hint=list[str]) or []
        ctx.set("cart", [*seats, ticket_id])
        ctx.object_send(expireTicket, key=ctx.key(), arg=ticket_id, send_delay=HOLD)
    return reserved


@cart.handler()
async def checkout(ctx: ObjectContext) -> bool:
    """Buy everything in the cart; false when it is empty."""
    seats = await ctx.get("cart", type_hint=list[str]) or []
    for seat in seats:
        ctx.object_send(markSold, key=seat, arg=None)
    ctx.clear("cart")
    return bool(seats)


@cart.handler()
async def expireTicket(ctx: ObjectContext, ticket_id: str) -> None:
    """Give a seat back that was not bought in time."""
    seats = await ctx.get("cart", type_hint=list[str]) or []
    if ticket_id in seats:
        ctx.set("cart", [seat for seat in seats if seat != ticket_id])
        ctx.object_send(unreserve, key=ticket_id, arg=None)


@cart.handler("get", kind="shared")
async def get_cart(ctx: ObjectSharedContext) -> list[str]:
    """The seats in the cart; reads beside the cart's writer."""
    return await ctx.get("cart", type_hint=list[str]) or []


@ticket.handler()
async def reserve(ctx: ObjectContext) -> bool:
    """Reserve the seat; false when it is reserved or sold already."""
    if await ctx.get("status", type_hint=str) not in (None, "available"):
        return False
    if VENUE_SECONDS > 0:
        # A step: once its result is recorded, the venue is not asked again, crash or not.
        await ctx.run("ask the venue", ask_venue)
    ctx.set("status", "reserved")
    return True


@ticket.handler()
async def unreserve(ctx: ObjectContext) -> None:
    """Make a reserved seat available again; a sold one stays sold."""
    if await ctx.get("status", type_hint=str) != "sold":
        ctx.clear("status")


@ticket.handler()
async def markSold(ctx: ObjectContext) -> None:
    """The seat is bought: it never becomes available again."""
    ctx.set("status", "sold")


async def ask_venue() -> str:
    """The venue's own booking system, which takes its time."""
    await asyncio.sleep(VENUE_SECONDS)
    return "confirmed"
