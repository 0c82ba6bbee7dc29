"""A payment for each key, made once; a cancellation may come first, and all expires."""

from datetime import timedelta
from typing import TypedDict

import howdah.restate as restate

EXPIRY = timedelta(milliseconds=200)
payments = restate.VirtualObject("Payments")
checkout = restate.Service("Checkout")
charges: list[str] = []


class Payment(TypedDict):
    account: str
    cents: int


@payments.handler()
async def make(ctx: restate.ObjectContext, payment: Payment) -> str:
    status = await ctx.get("status", type_hint=str)
    if status == "cancelled":
        return "payment was cancelled before"
    if status == "success":
        return "payment was made before"
    ctx.set("payment", payment)

    def charge() -> str:
        charges.append(ctx.key())
        return f"charge {payment['cents']} to {payment['account']}"

    outcome = await ctx.run("charge", charge)
    ctx.set("status", "success")
    ctx.object_send(expire, key=ctx.key(), arg=None, send_delay=EXPIRY)
    return outcome


@payments.handler()
async def cancel(ctx: restate.ObjectContext) -> str | None:
    before = await ctx.get("status", type_hint=str)
    ctx.set("status", "cancelled")
    if before == "success":
        payment: Payment | None = await ctx.get("payment")
        assert payment is not None
        return f"refunded {payment['cents']}"
    return before


@payments.handler()
async def expire(ctx: restate.ObjectContext) -> None:
    ctx.clear_all()


@checkout.handler()
async def pay_twice(ctx: restate.Context, payment: Payment) -> list[str]:
    """Two calls with one idempotency key are one invocation."""
    order = "order-" + payment["account"]
    first = ctx.object_call(make, key=order, arg=payment, idempotency_key=order)
    second = ctx.object_call(make, key=order, arg=payment, idempotency_key=order)
    assert await first.invocation_id() == await second.invocation_id()
    return [await first, await second]
