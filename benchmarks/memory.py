"""How much memory: a server that idles, and one with many sleeping invocations."""

import asyncio
from time import monotonic

import asyncpg

from benchmarks import wrk
from benchmarks.bench import STEPS, TICKETS, Bench
from benchmarks.processes import Running

MEGABYTE = 1_000_000
IDLE_SECONDS = 3.0
WARM_UP_COUNT = 5_000
PER = 100_000
SUSPEND_SECONDS = 600.0
SUSPENDED = "select count(*) from howdah_core.live where status = 'suspended'"


async def idle(bench: Bench) -> float:
    """Resident MB of a server that has answered requests for a while and then idles."""
    async with (
        bench.postgres.database("idle", is_howdah=True) as dsn,
        bench.howdah(dsn, TICKETS) as (started, url),
    ):
        bench.tell("memory of an idle server")
        await wrk.post(url, "/CartObject/c-{n}/addTicket", '"s-{n}"', connections=4, seconds=1)
        await asyncio.sleep(IDLE_SECONDS)
        return started.rss_bytes / MEGABYTE


async def sleeping(bench: Bench) -> float:
    """How many MB a server grows by, for each 100,000 that go to sleep and are suspended.

    A few thousand go to sleep before the first look, more than a process holds at once, so that
    what full slots, statement caches and buffers take once is not counted.
    """
    count = bench.sizes.sleeping_count
    async with (
        bench.postgres.database("sleeping", is_howdah=True) as dsn,
        bench.howdah(dsn, STEPS) as (started, _),
    ):
        connection = await asyncpg.connect(dsn)
        try:
            bench.tell("sleeping invocations: warming up")
            await _put_to_sleep(bench, started, connection, dsn, WARM_UP_COUNT, WARM_UP_COUNT)
            before = started.rss_bytes
            bench.tell(f"{count:,} invocations go to sleep")
            await _put_to_sleep(bench, started, connection, dsn, count, count + WARM_UP_COUNT)
            return (started.rss_bytes - before) / MEGABYTE * PER / count
        finally:
            await connection.close()


async def _put_to_sleep(
    bench: Bench,
    started: Running,
    connection: "asyncpg.Connection[asyncpg.Record]",
    dsn: str,
    count: int,
    expected: int,
) -> None:
    """Submit `count` invocations that sleep, and wait until `expected` are suspended."""
    await bench.in_process(dsn, "nap", str(count))
    deadline = monotonic() + SUSPEND_SECONDS
    while (found := await connection.fetchval(SUSPENDED)) < expected:
        if started.process.returncode is not None or monotonic() > deadline:
            raise started.complain(f"{found} of {expected} are suspended")
        await asyncio.sleep(0.5)
    await asyncio.sleep(IDLE_SECONDS)
