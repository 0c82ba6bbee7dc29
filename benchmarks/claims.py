"""How claiming work scales with the number of rows that wait."""

import statistics
import time
import uuid

import asyncpg

from benchmarks.bench import Bench
from benchmarks.processes import BenchmarkError

SERVICE = "select deployment, no from howdah_core.service where name = 'Steps'"
CLAIM = (
    "select * from howdah_core.claim($1, 1, array[$3::int], array[$2::int], array[$3::int], 0, $4)"
)
CLAIM_LIMIT = 20
WARM_UP_COUNT = 3
CLAIM_COUNT = 45

# The ids are in the order of time, as howdah's own are (UUID version 7).
FILL = """
with handler as (
  select h.service, h.no from howdah_core.handler h join howdah_core.service s on s.no = h.service
   where s.name = 'Steps'),
fresh as (
  insert into howdah_core.invocation
    (id, service, handler, is_exclusive, created_at, invoked_by, input)
  select (lpad(to_hex(1700000000000 + n / 100), 12, '0') || '7' || substr(md5(n::text), 1, 3)
          || '8' || substr(md5(n::text), 4, 15))::uuid,
         handler.service, handler.no, false, clock_timestamp(), 'ingress', '"x"'
    from handler, generate_series(1, $1::int) n
  returning id, service, created_at)
insert into howdah_core.live (id, status, q, created_at, modified_at, run_at)
select id, 'ready', service, created_at, created_at, created_at from fresh
"""


async def claim_ms(bench: Bench, count: int) -> float:
    """The median time in ms of a claim of 20 while `count` rows wait, as a worker sees it."""
    async with bench.postgres.database("claim", is_howdah=True) as dsn:
        bench.tell(f"claiming among {count:,} waiting rows")
        await bench.in_process(dsn, "register")
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(FILL, count)
            await connection.execute("vacuum (analyze) howdah_core.live, howdah_core.invocation")
            return await _median_claim_ms(connection)
        finally:
            await connection.close()


async def _median_claim_ms(connection: asyncpg.Connection) -> float:
    rows = await connection.fetch(SERVICE)
    deployment, service = rows[0]
    worker = await connection.fetchval(
        "select howdah_core.register_worker($1, 'here', 1, array['worker'], 1000, $2, '0')",
        uuid.uuid4(),
        deployment,
    )
    took: list[float] = []
    for _ in range(WARM_UP_COUNT + CLAIM_COUNT):
        # The commit is left out: it costs an fsync, whatever was claimed.
        async with connection.transaction():
            begun = time.perf_counter()
            rows = await connection.fetch(CLAIM, worker, deployment, service, CLAIM_LIMIT)
            took.append((time.perf_counter() - begun) * 1000)
        claimed = sum(row["what"] == b"I" for row in rows)
        if claimed != CLAIM_LIMIT:
            raise BenchmarkError(f"claimed {claimed} instead of {CLAIM_LIMIT}")
    return statistics.median(took[WARM_UP_COUNT:])
