"""The ticket shop's reservation, written as plain functions, with a step and state in both objects."""

from datetime import timedelta

from howdah import VirtualObject
from howdah.blocking import ObjectContext

cart = VirtualObject("CartObject")
ticket = VirtualObject("TicketObject")


@cart.handler()
def addTicket(ctx: ObjectContext, ticket_id: str) -> bool:
    reserved = ctx.object_call(reserve, key=ticket_id, arg=None)
    if reserved:
        price = ctx.begin.run("price", lambda: 1900).result()
        seats = ctx.get("cart", type_hint=list[str]) or []
        ctx.set("cart", [*seats, ticket_id])
        ctx.set("total", price)
        ctx.object_send(expire, key=ticket_id, arg=None, send_delay=timedelta(days=1))
    return reserved


@ticket.handler()
def reserve(ctx: ObjectContext) -> bool:
    if ctx.get("status", type_hint=str) not in (None, "available"):
        return False
    ctx.set("status", ctx.run("ask the venue", lambda: "reserved"))
    return True


@ticket.handler()
def expire(ctx: ObjectContext) -> None:
    ctx.clear("status")
