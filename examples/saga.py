"""A trip, booked step by step: what fails or is cancelled undoes what was done before it.

    howdah serve examples/saga.py
    howdah invoke Trips/book '{"traveller": "Ann", "card": "4711"}'        # booked
    howdah invoke Trips/book '{"traveller": "Bob", "card": "expired"}'     # undone, status 402

The flight is confirmed after a while (TRIPS_CONFIRM_SECONDS, 10 unless given). Cancel a trip
before that: the cancellation is a TerminalError (409) where the handler waits, and the handler
undoes flight, hotel and payment. It does so exactly once, also when the process is killed while
it is at it.

    howdah invoke --send Trips/book '{"traveller": "Cid", "card": "4711"}'

See what a trip did and undid, newest trip first:

    select i.input, j.index, j.name, j.value, j.failure
      from howdah.invocations i join howdah.journal j on j.invocation_id = i.id
     where i.service = 'Trips' and j.type like 'run%'
     order by i.created_at desc, j.index;

Cancel those that wait:

    select id, howdah.cancel(id) from howdah.invocations
     where service = 'Trips' and handler = 'book' and status <> 'completed';
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from howdah import Context, Service, TerminalError

CONFIRM_AFTER = timedelta(seconds=float(os.environ.get("TRIPS_CONFIRM_SECONDS", "10")))

trips = Service("Trips", description="Books trips: all of one, or nothing.")


@dataclass
class Trip:
    """What a traveller wants."""

    traveller: str
    card: str


@dataclass
class Booking:
    """What a traveller has."""

    flight: str
    hotel: str
    payment: str


@trips.handler()
async def book(ctx: Context, trip: Trip) -> Booking:
    """Book flight and hotel and take the money; undo all of it if one of them cannot be had."""
    undo: list[tuple[str, Callable[[], str]]] = []
    try:
        # What undoes a step is noted before the step: it may have taken effect and failed all
        # the same. So undoing must be harmless when there is nothing to undo.
        undo.append(("cancel flight", lambda: cancel(f"flight of {trip.traveller}")))
        flight = await ctx.run("book flight", lambda: reserve(f"flight of {trip.traveller}"))

        undo.append(("cancel hotel", lambda: cancel(f"hotel of {trip.traveller}")))
        hotel = await ctx.run("book hotel", lambda: reserve(f"hotel of {trip.traveller}"))

        # The same on every replay: the bank can tell a repeated request by it.
        payment = str(ctx.uuid())
        undo.append(("refund", lambda: cancel(f"payment {payment}")))
        await ctx.run("pay", lambda: charge(trip.card, payment), max_attempts=5)

        await ctx.sleep(CONFIRM_AFTER, name="the airline confirms")
    except TerminalError:  # a step failed for good, or the invocation was cancelled
        for name, compensation in reversed(undo):
            await ctx.run(name, compensation)
        raise
    return Booking(flight, hotel, payment)


# The outside world: these would be requests to other companies.


def reserve(what: str) -> str:
    print(f"reserved the {what}")
    return f"{what}, reserved"


def cancel(what: str) -> str:
    print(f"cancelled the {what}")
    return f"{what}, cancelled"


def charge(card: str, payment: str) -> str:
    if card == "expired":
        raise TerminalError("the card has expired", status_code=402)
    print(f"charged {card} for {payment}")
    return f"payment {payment}"
