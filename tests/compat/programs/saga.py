"""A saga: each booking adds what undoes it; a failure or a cancellation undoes them in reverse."""

import uuid
from datetime import timedelta
from typing import Any, TypedDict

import howdah.restate as restate

trips = restate.Service("Trips")
effects: list[str] = []


class Trip(TypedDict):
    customer: str
    card: str


@trips.handler()
async def book(ctx: restate.Context, trip: Trip) -> str:
    undo: list[tuple[str, Any]] = []
    try:
        undo.append(("cancel flight", lambda: effects.append("flight cancelled")))
        await ctx.run("book flight", book_it, args=("flight",))

        undo.append(("cancel car", lambda: effects.append("car cancelled")))
        await ctx.run("book car", book_it, args=("car",))

        payment_id = str(ctx.uuid())
        undo.append(("refund", lambda: effects.append(f"refunded {uuid.UUID(payment_id).version}")))
        await ctx.run("pay", lambda: pay(trip["card"]), max_attempts=3)

        confirmed_id, confirmed = ctx.awakeable(type_hint=str)
        await ctx.run("ask the hotel", lambda: effects.append(f"asked {confirmed_id}"))
        return await confirmed
    except restate.TerminalError as error:
        for name, compensation in reversed(undo):
            await ctx.run(name, compensation)
        # Compensations may wait, too.
        await ctx.sleep(timedelta(milliseconds=1))
        raise restate.TerminalError(
            f"the trip was undone: {error.message}", status_code=error.status_code
        ) from error


async def book_it(what: str) -> str:
    effects.append(f"{what} booked")
    return what


def pay(card: str) -> None:
    effects.append("paid")
    if card == "expired":
        raise restate.TerminalError("the card was refused", status_code=402)
