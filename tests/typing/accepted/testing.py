"""What a test of handlers gets from an environment."""

from datetime import timedelta
from typing import assert_type

from howdah import Context, ObjectContext, Service, VirtualObject
from howdah.testing import Environment, Sent, crash_everywhere, environment

greeter = Service("Greeter")
cart = VirtualObject("Cart")


@greeter.handler()
async def greet(ctx: Context, name: str) -> str:
    return name


@greeter.handler()
async def count(ctx: Context) -> int:
    return 1


@cart.handler()
async def add(ctx: ObjectContext, item: str) -> list[str]:
    return [item]


def plain(ctx: Context, item: str) -> bytes:
    return item.encode()


def plainer(ctx: Context) -> float:
    return 1.0


async def results(env: Environment) -> None:
    assert_type(await env.call(greet, "Ada"), str)
    assert_type(await env.call(count), int)
    assert_type(await env.call(add, "bread", key="joe"), list[str])
    assert_type(await env.call(plain, "bread"), bytes)
    assert_type(await env.call(plainer), float)
    sent = await env.send(greet, "Ada", delay=timedelta(days=1))
    assert_type(sent, Sent[str])
    assert_type(await env.attach(sent), str)
    assert_type(await env.skip_to_next(), timedelta)


async def main() -> None:
    async with environment([greeter, cart], always_replay=True) as env:
        await results(env)
    report = await crash_everywhere(greet, "Ada", services=[greeter])
    assert_type(report.boundaries, int)
