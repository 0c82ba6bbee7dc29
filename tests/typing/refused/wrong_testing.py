"""What a type checker finds in a wrong test."""

from howdah import Context, Service
from howdah.testing import Environment

greeter = Service("Greeter")


@greeter.handler()
async def greet(ctx: Context, name: str) -> str:
    return name


async def wrong(env: Environment) -> None:
    await env.call(greet, 3)  # error
    await env.call(greet)  # error
    await env.send(greeter, "Ada")  # error
    number: int = await env.call(greet, "Ada")  # error
    assert number
