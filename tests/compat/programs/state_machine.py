"""A machine that must never do two things at once: its key is its lock, its state the machine."""

import enum
from datetime import timedelta

import howdah.restate as restate
from howdah.restate import ObjectContext, VirtualObject

machines = VirtualObject("machine-operator")
log: list[str] = []


class Status(enum.StrEnum):
    UP = "UP"
    DOWN = "DOWN"


@machines.handler("setUp")
async def set_up(ctx: ObjectContext) -> str:
    if await status_of(ctx) is Status.UP:
        return f"{ctx.key()} is already up, so nothing to do"
    await ctx.run("bring up", lambda: log.append(f"{ctx.key()} up"))
    await ctx.sleep(timedelta(milliseconds=10))
    ctx.set("status", Status.UP)
    return f"{ctx.key()} is now up"


@machines.handler("tearDown")
async def tear_down(ctx: ObjectContext) -> str:
    if await status_of(ctx) is not Status.UP:
        raise restate.TerminalError(f"{ctx.key()} is not up, cannot tear down", status_code=409)
    await ctx.run("tear down", lambda: log.append(f"{ctx.key()} down"))
    ctx.set("status", Status.DOWN)
    return f"{ctx.key()} is now down"


async def status_of(ctx: ObjectContext) -> Status | None:
    status = await ctx.get("status", type_hint=str)
    return Status(status) if status else None
