"""State reads among other durable futures, and what a step sees and asks for."""

import contextvars
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from howdah import (
    ObjectContext,
    RetryableError,
    RunOptions,
    TerminalError,
    VirtualObject,
    as_completed,
    gather,
    select,
    wait_completed,
)
from support.engines import result, running_engine

SHORT = timedelta(milliseconds=10)
WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

shelf = VirtualObject("Shelf")


@shelf.handler()
async def fill(ctx: ObjectContext) -> None:
    ctx.set("book", "Dune")
    ctx.set("year", 1965)


@shelf.handler()
async def combined(ctx: ObjectContext) -> list[Any]:
    timer = ctx.sleep(SHORT)
    book = ctx.get("book", type_hint=str)
    everything = await gather(timer, book, ctx.get("year"), ctx.state_keys())
    found: list[Any] = [await future for future in everything]
    late = ctx.sleep(timedelta(seconds=30))
    done, pending = await wait_completed(late, book)
    found += [done == [book], pending == [late]]
    found += [await select(late=late, state=ctx.get("missing"))]
    async for future in as_completed(late, ctx.get("year", type_hint=int)):
        found.append(await future)
        break
    return found


@shelf.handler()
async def first_of_both(ctx: ObjectContext) -> list[Any]:
    timer = ctx.sleep(SHORT)
    await timer
    return await select(state=ctx.get("book"), timer=timer)


@shelf.handler(state_preload=False)
async def lazily(ctx: ObjectContext) -> list[Any]:
    futures = await gather(ctx.get("book", type_hint=str), ctx.state_keys())
    return [await future for future in futures]


@shelf.handler()
async def asks_for_a_delay(ctx: ObjectContext) -> int:
    tries = 0

    async def step() -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RetryableError("busy", retry_after=timedelta(milliseconds=1))
        return tries

    # The policy alone would wait for a minute.
    options = RunOptions[int](initial_retry_interval=timedelta(minutes=1), max_attempts=5)
    return await ctx.run_typed("step", step, options)


@shelf.handler()
async def sees_context_variables(ctx: ObjectContext) -> str:
    WHO.set("the handler")
    return await ctx.run("read", WHO.get)


@pytest.mark.parametrize(
    "inactivity", [timedelta(0), timedelta(minutes=1)], ids=["suspends", "stays"]
)
async def test_state_reads_are_combined_with_other_futures(dsn: str, inactivity: timedelta) -> None:
    async with running_engine(dsn, [shelf], inactivity_timeout=inactivity) as engine:
        await result(engine, "Shelf/a/fill")

        assert await result(engine, "Shelf/a/combined") == [
            None,
            "Dune",
            1965,
            ["book", "year"],
            True,
            True,
            ["state", None],
            1965,
        ]
        assert await result(engine, "Shelf/a/first_of_both") == ["timer", None]
        assert await result(engine, "Shelf/a/lazily") == ["Dune", ["book", "year"]]


async def test_a_step_may_say_when_it_is_tried_again(dsn: str) -> None:
    async with running_engine(dsn, [shelf]) as engine:
        assert await result(engine, "Shelf/a/asks_for_a_delay") == 3


async def test_a_step_in_a_thread_sees_the_handlers_context_variables(dsn: str) -> None:
    async with running_engine(dsn, [shelf]) as engine:
        assert await result(engine, "Shelf/a/sees_context_variables") == "the handler"


VERBS: dict[str, Any] = {
    "uuid": lambda ctx: ctx.uuid(),
    "random": lambda ctx: ctx.random().random(),
    "set": lambda ctx: ctx.set("book", "Dune"),
    "sleep": lambda ctx: ctx.sleep(SHORT),
    "run": lambda ctx: ctx.run("another", int),
    "send": lambda ctx: ctx.object_send(fill, "joe"),
    "awakeable": lambda ctx: ctx.awakeable(),
}


@shelf.handler()
async def misuse(ctx: ObjectContext, verb: str) -> list[str]:
    async def on_the_loop() -> str:
        return str(VERBS[verb](ctx))

    said: list[str] = []
    actions: tuple[Callable[[], Any], ...] = (on_the_loop, lambda: str(VERBS[verb](ctx)))
    for action in actions:
        try:
            said.append(await ctx.run("misuse", action, max_attempts=1))
        except TerminalError as error:
            said.append(error.message)
    before = str(ctx.uuid())
    return [*said, before, await ctx.run("who", lambda: f"{ctx.key()} {ctx.request().id}")]


@pytest.mark.parametrize("verb", VERBS)
async def test_verbs_within_a_step_are_refused(dsn: str, verb: str) -> None:
    async with running_engine(dsn, [shelf], always_replay=True) as engine:
        *said, _, who = await result(engine, "Shelf/ann/misuse", verb)

    assert len(said) == 2
    for message in said:
        assert "HD1007" in message
        assert "within a step" in message
    assert who.startswith("ann ")
