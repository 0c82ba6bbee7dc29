"""Mistakes with clients that a type checker must find; the lines are marked."""

from dataclasses import dataclass

from howdah import Context, ObjectContext, Service, VirtualObject
from howdah.client import Client, SyncClient

shop = Service("Shop")
seats = VirtualObject("Seats")


@dataclass
class Order:
    seat: str


@shop.handler()
async def names(ctx: Context) -> list[str]:
    return []


@seats.handler()
async def buy(ctx: ObjectContext, order: Order) -> int:
    return 1


@shop.handler()
def add_up(ctx: Context, prices: list[int]) -> int:
    return sum(prices)


async def wrong(client: Client, order: Order) -> str:
    await client.service_call(names, 1)  # error: it takes no argument
    await client.object_call(buy, "2B", "2B")  # error: another argument
    await client.object_call(buy, "2B")  # error: no argument
    await client.object_call(buy, 2, order)  # error: keys are text
    await client.object_call(buy, arg=order)  # error: no key
    await client.object_call("Seats/buy", "2B", order)  # error: not a handler
    await client.object_call(buy, "2B", order, send_delay=None)  # error: calls have no delay
    await client.object_send(buy, "2B", order, timeout=None)  # error: sends do not wait
    text: str = await client.object_call(buy, "2B", order)  # error: the result is int
    await client.service_call(add_up, 1)  # error: another argument
    await client.service_call(add_up)  # error: no argument
    text = await client.service_call(add_up, [1])  # error: the result is int
    sent = await client.object_send(buy, "2B", order)
    text = await client.attach(sent)  # error: the result is int
    return text


def wrong_too(client: SyncClient, order: Order) -> str:
    client.service_call(names, 1)  # error: it takes no argument
    client.object_send(buy, "2B", "2B")  # error: another argument
    text: str = client.object_call(buy, "2B", order)  # error: the result is int
    return text
