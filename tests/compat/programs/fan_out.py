"""Fan out into calls, and in again: all of them, the first ones, as they come."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel

import howdah.restate as restate
from howdah.restate import Context, Service, as_completed, gather, wait_completed

workers = Service("FanOutWorker")


class Task(BaseModel):
    words: list[str]
    slowest: int = 0


@workers.handler()
async def run(ctx: Context, task: Task) -> dict[str, int]:
    calls = [ctx.service_call(count_letters, arg=word) for word in task.words]
    results = [await done for done in await gather(*calls)]
    return dict(zip(task.words, results, strict=True))


@workers.handler()
async def as_they_come(ctx: Context, milliseconds: list[int]) -> list[int]:
    calls = [ctx.service_call(wait_a_bit, arg=n) for n in milliseconds]
    return [await done async for done in as_completed(*calls)]


@workers.handler()
async def the_first(ctx: Context, milliseconds: list[int]) -> list[int]:
    calls = [ctx.service_call(wait_a_bit, arg=n) for n in milliseconds]
    done, pending = await wait_completed(*calls)
    for call in pending:
        await call.cancel_invocation()  # type: ignore[attr-defined]
    return [await call for call in done]


@workers.handler()
async def nothing(ctx: Context) -> list[int]:
    done, pending = await wait_completed()
    return [len(await gather()), len(done), len(pending), len([f async for f in as_completed()])]


@workers.handler()
async def mixed(ctx: Context, word: str) -> list[object]:
    steps: dict[str, restate.RestateDurableFuture[Any]] = {
        "call": ctx.service_call(count_letters, arg=word),
        "step": ctx.run("reverse", lambda: word[::-1]),
        "timer": ctx.sleep(timedelta(milliseconds=1)),
    }
    await gather(*steps.values())
    return [await future for future in steps.values()]


@workers.handler()
async def count_letters(ctx: Context, word: str) -> int:
    return await ctx.run("count", len, args=(word,), type_hint=int)


@workers.handler()
async def wait_a_bit(ctx: Context, milliseconds: int) -> int:
    await ctx.sleep(timedelta(milliseconds=milliseconds))
    return milliseconds


assert restate.gather is gather
