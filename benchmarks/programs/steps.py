"""The services that howdah's figures drive: three steps in sequence, and a long sleep."""

from datetime import timedelta

from howdah import Context, Service

steps = Service("Steps")
sleeper = Service("Sleeper")

NAP = timedelta(days=30)


async def step() -> dict[str, str]:
    """The least that a step can do: its cost is all the engine's."""
    return {"result": "ok"}


@steps.handler()
async def three(ctx: Context, text: str) -> str:
    """Three steps, each durable before the next begins."""
    await ctx.run("first", step)
    await ctx.run("second", step)
    await ctx.run("third", step)
    return text


@sleeper.handler()
async def nap(ctx: Context) -> None:
    """Sleep for a month, to be suspended in the database."""
    await ctx.sleep(NAP)
