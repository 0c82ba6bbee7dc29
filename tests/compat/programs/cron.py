"""A job that sends itself its next run, until it is stopped."""

from datetime import timedelta
from typing import TypedDict

import howdah.restate as restate

jobs = restate.VirtualObject("CronJob")


class Plan(TypedDict):
    every_milliseconds: int
    times: int


@jobs.handler()
async def initiate(ctx: restate.ObjectContext, plan: Plan) -> str:
    if await ctx.get("plan"):
        raise restate.TerminalError("there is a plan already", status_code=409)
    ctx.set("plan", plan)
    return await schedule_next(ctx, plan)


@jobs.handler()
async def execute(ctx: restate.ObjectContext) -> None:
    plan: Plan | None = await ctx.get("plan")
    if plan is None:
        return
    runs = (await ctx.get("runs", type_hint=int) or 0) + 1
    ctx.set("runs", runs)
    if runs < plan["times"]:
        await schedule_next(ctx, plan)
    else:
        ctx.clear("next")


@jobs.handler()
async def stop(ctx: restate.ObjectContext) -> str | None:
    following = await ctx.get("next", type_hint=str)
    if following:
        ctx.cancel_invocation(following)
    ctx.clear_all()
    return following


@jobs.handler(kind="shared")
async def runs(ctx: restate.ObjectSharedContext) -> int:
    return await ctx.get("runs", type_hint=int) or 0


async def schedule_next(ctx: restate.ObjectContext, plan: Plan) -> str:
    delay = timedelta(milliseconds=plan["every_milliseconds"])
    handle = ctx.object_send(execute, ctx.key(), None, send_delay=delay)
    following = await handle.invocation_id()
    ctx.set("next", following)
    return following
