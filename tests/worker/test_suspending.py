import asyncio
from datetime import timedelta
from typing import Any

import asyncpg

from howdah import Context, Service, gather
from howdah.ids import parse_awakeable_id
from howdah.machine.entries import Kind
from howdah.store.units import Mail
from support.engines import assert_healthy, resident, running_engine, submission, until_true


async def test_a_timer_that_fires_during_a_suspension_that_is_called_off_is_not_lost(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    service, given = Service("Timer"), []

    @service.handler()
    async def both(ctx: Context) -> str:
        name, answer = ctx.awakeable(type_hint=str)
        await ctx.run("give", lambda: given.append(name))
        await gather(answer, ctx.sleep(timedelta(milliseconds=50)))
        return await answer

    # Nobody is suspended for being idle within the test's bound.
    async with running_engine(dsn, [service], inactivity_timeout=timedelta(minutes=5)) as engine:
        asked = await engine.accept(submission(engine, "Timer/both"))
        await until_true(lambda: given and resident(engine, asked.id).is_idle)
        attempt = resident(engine, asked.id)
        attempt.suspend()
        suspension = attempt.unit
        assert suspension is not None
        engine.lane._take()  # it is on its way,
        await until_true(lambda: attempt._due)  # the timer fires,
        engine.lane._again(suspension)  # it comes back busy,
        assert attempt.is_open  # and what arrives calls it off

        target, number = parse_awakeable_id(given[0])
        await engine.deliver(Mail(target, Kind.SIGNAL, -number, b'"answer"', None))
        assert asked.outcome is not None
        outcome = await asyncio.wait_for(asked.outcome, 20)

    assert outcome.value == b'"answer"'
    await assert_healthy(db)
