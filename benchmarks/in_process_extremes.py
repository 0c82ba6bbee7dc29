"""The measurements of scale that need an engine in the same process; see `in_process.py`."""

import asyncio
import statistics
import time
from collections.abc import Callable
from uuid import UUID

import asyncpg

from benchmarks.in_process import Command, accept_many, engine, outcome_of, submission
from benchmarks.programs import extremes
from howdah.ids import AWAKEABLE_MIN
from howdah.machine.entries import Kind, signal_cid
from howdah.store.units import Mail
from howdah.worker.engine import Engine, Submission

BOTH = {"ingress", "worker"}
DELIVERED_AT_ONCE = 256
ROUNDS = 5
TOUCH_COUNT = 300
WARM_UP_COUNT = 50
LARGE_COUNT = 10
UNTIL_SECONDS = 300.0
POLL_SECONDS = 0.02

SUSPENDED = "select count(*) from howdah_core.live where status = 'suspended'"
SUCCEEDED = "select count(*) from howdah_core.outcome where outcome = 'succeeded'"

FILL_STATE = """
insert into howdah_core.state (service, key, name, value)
select s.no, 'all', 'entry-' || n, convert_to(n::text, 'UTF8')
  from howdah_core.service s, generate_series(0, $1::int - 1) n
 where s.name = 'Ledger'
"""


async def until_count(
    connection: "asyncpg.Connection[asyncpg.Record]", query: str, count: int
) -> None:
    """Wait until a query counts `count`."""
    async with asyncio.timeout(UNTIL_SECONDS):
        while await connection.fetchval(query) < count:
            await asyncio.sleep(POLL_SECONDS)


async def fan(dsn: str, count: int) -> dict[str, float]:
    """A workflow that calls `count` services and gathers, some times; the median and the first."""
    took: list[float] = []
    async with engine(dsn, BOTH) as here:
        for number in range(ROUNDS):
            request = submission(here, "Fan/out", str(count).encode(), key=str(number), waits=True)
            begun = time.perf_counter()
            await outcome_of(here, request)
            took.append((time.perf_counter() - begun) / count * 1000)
    return {"ms_per_callee": statistics.median(took), "first_ms_per_callee": took[0]}


async def replay(dsn: str, count: int) -> dict[str, float]:
    """Suspended chains of `count` steps that go on: from asking for the claim to the next step."""
    claims: list[float] = []

    def note(statement: str) -> None:
        # Told before and after each call: the last but one begins the claim that found the work.
        if "howdah_core.claim(" in statement:
            claims.append(time.perf_counter())

    took: list[float] = []
    async with engine(dsn, BOTH, note) as here:
        connection = await asyncpg.connect(dsn)
        try:
            for _ in range(ROUNDS):
                request = submission(here, "Chain/long", str(count).encode(), waits=True)
                accepted = await here.accept(request)
                assert accepted.outcome is not None
                await until_count(connection, SUSPENDED, 1)
                cid = signal_cid(extremes.MESSAGE)
                await here.deliver(
                    Mail(accepted.id, Kind.SIGNAL, cid, b"null", None, extremes.MESSAGE)
                )
                outcome = await accepted.outcome
                assert outcome.outcome == "succeeded", outcome
                resumed_at = extremes.resumed_at.pop()
                claimed_at = max(claim for claim in claims[::2] if claim < resumed_at)
                took.append((resumed_at - claimed_at) * 1000)
        finally:
            await connection.close()
    return {"ms": statistics.median(took), "first_ms": took[0], "max_ms": max(took)}


async def awakeables(dsn: str, count: int) -> dict[str, float]:
    """`count` suspended invocations, each of whose awakeables is resolved, many at once."""
    async with engine(dsn, BOTH) as here:
        connection = await asyncpg.connect(dsn)
        try:
            await accept_many(here, count, submission(here, "Patient/wait", b"", waits=False))
            await until_count(connection, SUSPENDED, count)
            remaining = iter(await connection.fetch("select id from howdah_core.live"))

            async def resolve() -> None:
                for row in remaining:
                    target: UUID = row["id"]
                    await here.deliver(Mail(target, Kind.SIGNAL, -AWAKEABLE_MIN, b'"value"', None))

            begun = time.perf_counter()
            await asyncio.gather(*(resolve() for _ in range(DELIVERED_AT_ONCE)))
            resolved = time.perf_counter()
            await until_count(connection, SUCCEEDED, count)
            completed = time.perf_counter()
        finally:
            await connection.close()
    return {
        "resolved_per_second": count / (resolved - begun),
        "completed_per_second": count / (completed - begun),
    }


async def state(dsn: str, count: int) -> dict[str, float]:
    """The median of an invocation that reads one entry of `count` and writes another."""
    async with engine(dsn, BOTH) as here:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(FILL_STATE, count)
            await connection.execute("vacuum (analyze) howdah_core.state")
        finally:
            await connection.close()
        took: list[float] = []
        for number in range(TOUCH_COUNT):
            name = number * count // TOUCH_COUNT
            request = submission(here, "Ledger/touch", str(name).encode(), key="all", waits=True)
            begun = time.perf_counter()
            await outcome_of(here, request)
            took.append(time.perf_counter() - begun)
    measured = sorted(took[TOUCH_COUNT // 10 :])  # the first tenth warms up
    return {"p50_ms": statistics.median(measured) * 1000, "max_ms": measured[-1] * 1000}


async def large(dsn: str, size: int, beside_ms: int) -> dict[str, float]:
    """Steps of `size` bytes, and small invocations alone and beside them."""
    measured: dict[str, float] = {}
    seconds = beside_ms / 1000
    async with engine(dsn, BOTH) as here:
        small = submission(here, "Steps/three", b'"x"', waits=True)
        await _timed(here, small, lambda took: len(took) >= WARM_UP_COUNT)
        alone = await _timed(here, small, lambda took: sum(took) >= seconds)
        measured["p50_alone_ms"], measured["p99_alone_ms"] = _p50_p99_ms(alone)
        for kind in ("wordy", "noisy"):
            big = submission(here, f"Large/{kind}", str(size).encode(), waits=True)
            await outcome_of(here, big)  # warms up, and makes the bytes
            steps = await _timed(here, big, lambda took: len(took) >= LARGE_COUNT)
            measured[f"{kind}_ms"] = statistics.median(steps) * 1000
            begun, beside = time.perf_counter(), asyncio.create_task(_endless(here, big))
            among = await _timed(here, small, lambda took: sum(took) >= seconds)
            beside.cancel()
            measured[f"{kind}_beside_per_second"] = await beside / (time.perf_counter() - begun)
            p50, p99 = _p50_p99_ms(among)
            measured[f"p50_beside_{kind}_ms"], measured[f"p99_beside_{kind}_ms"] = p50, p99
    return measured


async def _timed(
    here: Engine, request: Submission, is_enough: Callable[[list[float]], bool]
) -> list[float]:
    """How long each invocation took in seconds, one after the other."""
    took: list[float] = []
    while not is_enough(took):
        begun = time.perf_counter()
        await outcome_of(here, request)
        took.append(time.perf_counter() - begun)
    return took


async def _endless(here: Engine, request: Submission) -> int:
    """One invocation after the other until cancelled; returns how many."""
    count = 0
    try:
        while True:
            await outcome_of(here, request)
            count += 1
    except asyncio.CancelledError:
        return count


def _p50_p99_ms(took: list[float]) -> tuple[float, float]:
    ordered = sorted(took)
    return ordered[len(ordered) // 2] * 1000, ordered[len(ordered) * 99 // 100] * 1000


COMMANDS: dict[str, Command] = {
    "fan": fan, "replay": replay, "awakeables": awakeables, "state": state, "large": large,
}  # fmt: skip
