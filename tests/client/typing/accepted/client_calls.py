"""Both clients infer argument and result from the handler that is called."""

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_type

from howdah import Context, ObjectContext, Service, VirtualObject, Workflow
from howdah.client import Client, ClientSendHandle, SyncClient, create_client

shop = Service("Shop")
seats = VirtualObject("Seats")
run = Workflow("Run")


@dataclass
class Order:
    seat: str


@shop.handler()
async def names(ctx: Context) -> list[str]:
    return []


@shop.handler()
async def quote(ctx: Context, order: Order | None) -> str:
    return ""


@shop.handler()
async def count(ctx: Context, number: int = 7) -> float:
    return number


@seats.handler()
async def buy(ctx: ObjectContext, order: Order) -> int:
    return 1


@shop.handler()
def add_up(ctx: Context, prices: list[int]) -> int:
    return sum(prices)


@seats.handler()
def free(ctx: ObjectContext) -> bool:
    return True


@run.main()
async def main(ctx: ObjectContext, order: Order) -> int:
    return 1


async def plain_functions(client: Client) -> None:
    assert_type(await client.service_call(add_up, [1]), int)
    assert_type(await client.object_call(free, "2B"), bool)
    sent = await client.object_send(free, "2B")
    assert_type(sent, ClientSendHandle[bool])
    assert_type(await client.attach(sent), bool)
    assert_type(await client.attach(sent.invocation_id, add_up), int)
    assert_type(await client.output(sent.invocation_id, add_up), int | None)
    assert_type(await client.idempotent_attach(free, "a", "2B"), bool)


async def workflows(client: Client, order: Order) -> None:
    assert_type(await client.workflow_call(main, "2B", order), int)
    assert_type(await client.attach(await client.workflow_send(main, "2B", order)), int)
    assert_type(await client.workflow_attach(main, "2B"), int)
    assert_type(await client.workflow_output(main, "2B"), int | None)


async def calls(client: Client, order: Order) -> None:
    assert_type(await client.service_call(names), list[str])
    assert_type(await client.service_call(quote, None), str)
    assert_type(await client.service_call(quote, arg=order, idempotency_key="a"), str)
    assert_type(await client.service_call(count), float)
    assert_type(await client.service_call(count, 8, timeout=timedelta(seconds=1)), float)
    assert_type(await client.object_call(buy, "2B", order, headers={"a": "b"}), int)
    assert_type(await client.object_call(buy, key="2B", arg=order, timeout=None), int)
    assert_type(await client.generic_call("Shop", "names"), bytes)


async def sends(client: Client, order: Order) -> None:
    sent = await client.object_send(buy, "2B", order, send_delay=timedelta(hours=1))
    assert_type(sent, ClientSendHandle[int])
    assert_type(sent.invocation_id, str)
    assert_type(sent.is_new, bool)
    assert_type(await client.attach(sent), int)
    assert_type(await client.output(sent), int | None)
    assert_type(await client.attach(sent.invocation_id, buy, timeout=None), int)
    assert_type(await client.attach(sent.invocation_id, type_hint=Order), Order)
    assert_type(await client.attach(sent.invocation_id, type_hint=list[str]), list[str])
    assert_type(await client.attach(sent.invocation_id), bytes)
    assert_type(await client.output(sent.invocation_id, names), list[str] | None)
    assert_type(await client.idempotent_attach(buy, "a", key="2B"), int)
    assert_type(await client.idempotent_output(names, "a"), list[str] | None)
    assert_type(await client.attach(await client.generic_send("Shop", "names")), bytes)
    await client.resolve_awakeable("sign_1abc", order)


async def as_the_context_manager_of_the_sdk() -> None:
    async with create_client("http://127.0.0.1:8080", {"a": "b"}) as client:
        assert_type(client, Client)


def blocking(client: SyncClient, order: Order) -> None:
    assert_type(client.service_call(names), list[str])
    assert_type(client.service_call(count, 8), float)
    assert_type(client.object_call(buy, "2B", order), int)
    sent = client.service_send(quote, order)
    assert_type(client.attach(sent), str)
    assert_type(client.output(sent.invocation_id, buy), int | None)
