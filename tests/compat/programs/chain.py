"""Calls through services, objects and workflows; ids, headers, attaching, signals."""

from typing import Any

import howdah.restate as restate
from howdah.restate.context import Context, ObjectContext, WorkflowContext
from howdah.restate.object import VirtualObject
from howdah.restate.service import Service
from howdah.restate.workflow import Workflow

front = Service("Front")
store = VirtualObject("Store")
flow = Workflow("Flow")


@front.handler()
async def start(ctx: Context, name: str) -> list[Any]:
    stored = await ctx.object_call(put, key=name, arg=3, headers={"x-from": "front"})
    result = await ctx.workflow_call(main, key=name, arg=stored)
    again = ctx.workflow_send(main, key=name, arg=stored)
    attached = await ctx.attach_invocation(await again.invocation_id(), type_hint=int)
    try:
        await ctx.workflow_call(main, key=name, arg=0)
        second = None
    except restate.TerminalError as error:
        second = error.status_code
    raw = await ctx.generic_call("Store", "put", arg=b"4", key=name)
    return [stored, result, attached, second, int(raw)]


@store.handler()
async def put(ctx: ObjectContext, value: int) -> int:
    ctx.set("from", ctx.request().headers.get("x-from", "nobody"))
    ctx.set("value", value + (await ctx.get("value", type_hint=int) or 0))
    return await ctx.get("value", type_hint=int) or 0


@flow.main()
async def main(ctx: WorkflowContext, value: int) -> int:
    return await ctx.service_call(double, arg=value)


@front.handler()
async def double(ctx: Context, value: int) -> int:
    return 2 * value


@front.handler()
async def waits_for_signals(ctx: Context) -> list[Any]:
    first, second = ctx.signal("go", type_hint=str), ctx.signal("go", type_hint=str)
    found: list[Any] = [await first, await second]
    try:
        await ctx.signal("stop")
    except restate.TerminalError as error:
        found.append([error.status_code, error.message])
    return found


@front.handler()
async def signals(ctx: Context, invocation_id: str) -> None:
    ctx.resolve_signal(invocation_id, "go", "one")
    ctx.resolve_signal(invocation_id, "go", "two")
    ctx.reject_signal(invocation_id, "stop", "enough", failure_code=418)


@front.handler()
async def asks_two_people(ctx: Context) -> list[Any]:
    yes_id, yes = ctx.awakeable(type_hint=int)
    no_id, no = ctx.awakeable()
    ctx.service_send(answers, arg=[yes_id, no_id])
    found: list[Any] = [await yes]
    try:
        await no
    except restate.TerminalError as error:
        found.append([error.status_code, error.message])
    return found


@front.handler()
async def answers(ctx: Context, ids: list[str]) -> None:
    ctx.resolve_awakeable(ids[0], 42)
    ctx.reject_awakeable(ids[1], "no idea", failure_code=404)
