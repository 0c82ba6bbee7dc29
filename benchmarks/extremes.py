"""Scale: many callees, a long journal, many awakeables, much state, large values."""

from time import perf_counter

import asyncpg

from benchmarks.bench import EXTREMES, Bench
from benchmarks.each import post_each
from benchmarks.in_process_extremes import SUCCEEDED, SUSPENDED, until_count
from howdah.ids import AWAKEABLE_MIN

PENDING = "select howdah_core.awakeable_id(id, $1) from howdah_core.live where status = 'suspended'"


async def fan(bench: Bench) -> dict[str, float]:
    """A workflow calls many services and gathers their results."""
    return await _in_process(bench, "fan", bench.sizes.callee_count, "callees of one workflow")


async def replay(bench: Bench) -> dict[str, float]:
    """An invocation with many recorded steps is claimed and goes on."""
    return await _in_process(bench, "replay", bench.sizes.step_count, "recorded steps, resumed")


async def awakeables(bench: Bench) -> dict[str, float]:
    """Suspended invocations wait for awakeables, which are resolved in the same process."""
    return await _in_process(bench, "awakeables", bench.sizes.awakeable_count, "awakeables")


async def state(bench: Bench) -> dict[str, float]:
    """An object's key has many entries; an invocation reads one and writes one."""
    return await _in_process(bench, "state", bench.sizes.entry_count, "entries of state")


async def large(bench: Bench) -> dict[str, float]:
    """A step returns a large value; small invocations go on beside it."""
    sizes = bench.sizes
    return await _in_process(
        bench, "large", sizes.large_bytes, "bytes from a step", sizes.beside_ms
    )


async def _in_process(
    bench: Bench, command: str, count: int, what: str, *more: int
) -> dict[str, float]:
    async with bench.postgres.database(command, is_howdah=True) as dsn:
        bench.tell(f"{count:,} {what}")
        return await bench.in_process(dsn, command, str(count), *map(str, more))


async def awakeables_http(bench: Bench, connections: int) -> dict[str, float]:
    """The same, resolved over HTTP: one request for each awakeable."""
    count = bench.sizes.awakeable_count
    async with (
        bench.postgres.database("awakeables", is_howdah=True) as dsn,
        bench.howdah(dsn, EXTREMES) as (_, url),
    ):
        connection = await asyncpg.connect(dsn)
        try:
            bench.tell(f"{count:,} awakeables: getting them pending")
            await bench.in_process(dsn, "patient", str(count))
            await until_count(connection, SUSPENDED, count)
            rows = await connection.fetch(PENDING, AWAKEABLE_MIN)
            bench.tell(f"{count:,} awakeables: resolving them over {connections} connections")
            paths = [f"/restate/awakeables/{row[0]}/resolve" for row in rows]
            begun = perf_counter()
            answers = await post_each(url, paths, '"value"', connections=connections)
            await until_count(connection, SUCCEEDED, count)
            seconds = perf_counter() - begun
        finally:
            await connection.close()
    return {
        "resolved_per_second": answers.per_second,
        "completed_per_second": count / seconds,
        "p50_ms": answers.percentile_ms(50),
        "p99_ms": answers.percentile_ms(99),
    }
