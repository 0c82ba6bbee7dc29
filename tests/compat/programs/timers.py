"""Sleep, time out, send later."""

from datetime import timedelta

import howdah.restate as restate

timers = restate.Service("Timers")
reminders = restate.VirtualObject("Reminders")


@timers.handler()
async def nap(ctx: restate.Context, milliseconds: int) -> float:
    before = await ctx.time()
    nap = ctx.sleep(timedelta(milliseconds=milliseconds))
    assert isinstance(nap, restate.RestateDurableSleepFuture)
    await nap
    return await ctx.time() - before


@timers.handler()
async def with_timeout(ctx: restate.Context, milliseconds: int) -> str:
    work = ctx.service_call(nap, arg=milliseconds)
    match await restate.select(work=work, timeout=ctx.sleep(timedelta(milliseconds=50))):
        case ["work", _]:
            return "done"
        case _:
            await work.cancel_invocation()
            return "too slow"


@timers.handler()
async def remind(ctx: restate.Context, text: str) -> str:
    handle = ctx.object_send(
        note, key="me", arg=text, send_delay=timedelta(milliseconds=20), idempotency_key=text
    )
    return await handle.invocation_id()


@reminders.handler()
async def note(ctx: restate.ObjectContext, text: str) -> None:
    ctx.set("notes", [*(await ctx.get("notes", type_hint=list[str]) or []), text])


@reminders.handler(kind="shared")
async def notes(ctx: restate.ObjectSharedContext) -> list[str]:
    return await ctx.get("notes", type_hint=list[str]) or []
