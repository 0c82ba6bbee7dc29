"""Handlers whose threads never come back."""

import time

from howdah import Context, Service, blocking

HANG_SECONDS = 600

hanging = Service("Hanging")


@hanging.handler()
def handler(ctx: blocking.Context) -> None:
    time.sleep(HANG_SECONDS)


@hanging.handler()
def own_step(ctx: blocking.Context) -> None:
    ctx.run("step", time.sleep, args=(HANG_SECONDS,))


@hanging.handler()
def begun_step(ctx: blocking.Context) -> None:
    ctx.begin.run("step", time.sleep, args=(HANG_SECONDS,)).result()


@hanging.handler()
async def async_step(ctx: Context) -> None:
    await ctx.run("step", time.sleep, args=(HANG_SECONDS,))


@hanging.handler()
def computes(ctx: blocking.Context) -> None:
    until = time.monotonic() + HANG_SECONDS
    while time.monotonic() < until:
        pass
