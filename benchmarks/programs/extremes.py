"""The services that the figures of scale drive: many callees, a long chain, awakeables, much state, large values."""

import os
from datetime import timedelta
from functools import cache, partial
from time import perf_counter

from howdah import (
    BytesSerde,
    Context,
    ObjectContext,
    Service,
    VirtualObject,
    Workflow,
    WorkflowContext,
    gather,
)

MESSAGE = "the chain goes on"

callees = Service("Callees")
fan = Workflow("Fan")
chain = Service("Chain")
patient = Service("Patient", inactivity_timeout=timedelta(0))
ledger = VirtualObject("Ledger", enable_lazy_state=True)
large = Service("Large")

resumed_at: list[float] = []
"""When each chain of this process went on beyond what it had recorded, by `perf_counter`."""


@callees.handler()
async def callee(ctx: Context, number: int) -> int:
    """The least that a callee can do."""
    return number


@fan.main()
async def out(ctx: WorkflowContext, count: int) -> int:
    """Call `count` services and wait for all of them."""
    calls = await gather(*(ctx.service_call(callee, arg=number) for number in range(count)))
    return sum([await call for call in calls])


async def step(number: int) -> int:
    """The least that a step can do."""
    return number


async def first_after() -> None:
    """The first step that a chain has not recorded yet."""
    resumed_at.append(perf_counter())


@chain.handler(inactivity_timeout=timedelta(0))
async def long(ctx: Context, count: int) -> int:
    """Record `count` steps, be suspended until a message comes, and do one step more."""
    total = 0
    for number in range(count):
        total += await ctx.run(f"step {number}", partial(step, number))
    await ctx.signal(MESSAGE)
    await ctx.run("first after", first_after)
    return total


@patient.handler()
async def wait(ctx: Context) -> str:
    """Wait for an awakeable, suspended in the database."""
    _, promise = ctx.awakeable(type_hint=str)
    return await promise


@ledger.handler()
async def touch(ctx: ObjectContext, number: int) -> int:
    """Read one entry of the state and write another."""
    value = await ctx.get(f"entry-{number}", type_hint=int)
    assert value == number, value
    ctx.set(f"entry-{number + 1}", number + 1)
    return value


@cache
def noise(count: int) -> bytes:
    """Bytes that nothing compresses, as those of a picture; made once."""
    return os.urandom(count)


@cache
def prose(count: int) -> bytes:
    """Bytes that compress well, as those of a document in JSON; made once."""
    sentence = b'{"seat": "A1", "status": "reserved", "holder": "joe", "price": 12.50}, '
    return (sentence * (count // len(sentence) + 1))[:count]


@large.handler()
async def noisy(ctx: Context, count: int) -> int:
    """One step whose result is `count` bytes that do not compress."""
    value: bytes = await ctx.run("noise", partial(noise, count), serde=BytesSerde())
    return len(value)


@large.handler()
async def wordy(ctx: Context, count: int) -> int:
    """One step whose result is `count` bytes that compress well."""
    value: bytes = await ctx.run("prose", partial(prose, count), serde=BytesSerde())
    return len(value)
