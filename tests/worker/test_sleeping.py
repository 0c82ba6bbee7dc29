import asyncio
from collections.abc import Callable
from contextvars import Context
from datetime import timedelta
from typing import Any, TypeVarTuple, Unpack

import asyncpg

import howdah
from howdah import Service, gather
from support.engines import assert_healthy, result, running_engine

Ts = TypeVarTuple("Ts")
naps = Service("Naps")


@naps.handler()
async def take(ctx: howdah.Context, milliseconds: list[int]) -> None:
    await gather(*[ctx.sleep(timedelta(milliseconds=length)) for length in milliseconds])


class HastyLoop(asyncio.SelectorEventLoop):
    """Rings too soon, as uvloop's whole milliseconds do, only more so."""

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return super().call_later(max(delay - 0.02, 0), callback, *args, context=context)


async def test_no_sleep_ends_too_soon_though_its_timer_does(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    async def main() -> None:
        async with running_engine(dsn, [naps]) as engine:
            await result(engine, "Naps/take", list(range(20, 100)))

    def run() -> None:
        with asyncio.Runner(loop_factory=HastyLoop) as runner:
            runner.run(main())

    await asyncio.to_thread(run)

    await assert_healthy(db)
