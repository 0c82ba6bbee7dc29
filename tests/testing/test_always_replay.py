import random
from datetime import timedelta

import pytest

from howdah import Context, NonDeterminism, ObjectContext, Service, VirtualObject
from howdah.testing import EnvironmentFactory
from testing.shop import greet, greeter

dice = Service("Dice")


@dice.handler()
async def careless(ctx: Context) -> int:
    side = random.choice(["heads", "tails"]) + str(random.random())
    await ctx.run(f"bet on {side}", lambda: side)
    return await ctx.run("settle", lambda: 1)


@dice.handler()
async def careful(ctx: Context) -> int:
    side = await ctx.run("toss", lambda: random.choice(["heads", "tails"]))
    await ctx.run(f"bet on {side}", lambda: side)
    await ctx.sleep(timedelta(milliseconds=1))
    await ctx.service_call(greet, arg=str(ctx.uuid()))
    return await ctx.run("settle", lambda: 1)


async def test_what_is_not_deterministic_is_found_out(serve: EnvironmentFactory) -> None:
    async with serve([dice]) as env:
        assert await env.call(careless) == 1
    async with serve([dice], always_replay=True) as env:
        with pytest.raises(NonDeterminism) as found:
            await env.call(careless)
    lines = str(found.value).splitlines()
    assert lines[0] == "HD2001: Dice/careless took another path than its journal, at entry 1."
    assert lines[1].startswith("  recorded:  run 'bet on ")
    assert lines[2].startswith("  attempted: run 'bet on ")
    assert "wrap what may differ between attempts" in lines[3]


async def test_what_is_deterministic_passes(serve: EnvironmentFactory) -> None:
    async with serve([dice, greeter], always_replay=True) as env:
        sent = await env.send(careful)
        assert await env.attach(sent) == 1
        rows = await env.sql("select attempts from howdah.invocations where id = $1", sent.id)
        assert rows[0]["attempts"] >= 5
        await env.check()


async def test_state_and_order_hold_when_everything_replays(serve: EnvironmentFactory) -> None:
    counter = VirtualObject("Counter")

    @counter.handler()
    async def increase(ctx: ObjectContext) -> int:
        value = (await ctx.get("value", type_hint=int) or 0) + 1
        await ctx.run("think", lambda: None)
        ctx.set("value", value)
        await ctx.run("think again", lambda: None)
        return value

    async with serve([counter], always_replay=True) as env:
        assert [await env.call(increase, key="a") for _ in range(3)] == [1, 2, 3]
        await env.check()
