"""What needs an engine without HTTP, as a program of its own: `register`, `fill N`, `nap N`, `latency N`.

    python -m benchmarks.in_process DSN COMMAND [N]

`register` makes the benchmark's handlers known; `fill` accepts N three-step invocations in a
process that has no worker, so that they wait in the queue; `nap` the same of invocations that sleep; `latency` submits N to an engine in this
process, one after the other, and prints their median in milliseconds as JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from benchmarks.programs.steps import sleeper, steps
from howdah.options import Options
from howdah.worker.engine import Engine, Submission

SUBMITTED_AT_ONCE = 500


@asynccontextmanager
async def engine(dsn: str, roles: set[str]) -> AsyncIterator[Engine]:
    """A started engine; drained and stopped when the context is left."""
    made = Engine.create(
        dsn=dsn,
        options=Options(roles=frozenset(roles)),
        services=[steps, sleeper] if "worker" in roles else [],
    )
    await made.start()
    try:
        yield made
    finally:
        await made.drain()
        await made.stop()


def submission(of: Engine, *, waits: bool) -> Submission:
    """One three-step invocation."""
    return _submission(of, "Steps", "three", b'"x"', waits=waits)


def _submission(of: Engine, service: str, handler: str, body: bytes, *, waits: bool) -> Submission:
    row = of.registry.service(service)
    assert row is not None
    return Submission(
        handler=row.handlers[handler],
        key=None,
        body=body,
        headers=[],
        idempotency_key=None,
        delay=None,
        wait=waits,
    )


async def register(dsn: str, _: int) -> dict[str, float]:
    """Start and stop a worker, so that the database knows the handlers."""
    async with engine(dsn, {"worker"}):
        return {}


async def fill(dsn: str, count: int) -> dict[str, float]:
    """Accept `count` three-step invocations that nobody executes in this process."""
    async with engine(dsn, {"ingress"}) as accepting:
        await _accept(accepting, count, submission(accepting, waits=False))
    return {}


async def nap(dsn: str, count: int) -> dict[str, float]:
    """Accept `count` invocations that will sleep, wherever they are executed."""
    async with engine(dsn, {"ingress"}) as accepting:
        await _accept(accepting, count, _submission(accepting, "Sleeper", "nap", b"", waits=False))
    return {}


async def _accept(accepting: Engine, count: int, again: Submission) -> None:
    remaining = iter(range(count))

    async def submit() -> None:
        for _ in remaining:
            await accepting.accept(again)

    await asyncio.gather(*(submit() for _ in range(SUBMITTED_AT_ONCE)))


async def latency(dsn: str, count: int) -> dict[str, float]:
    """The median time from submitting an invocation to having its outcome, one at a time."""
    took: list[float] = []
    async with engine(dsn, {"ingress", "worker"}) as engine_here:
        for _ in range(count + count // 10):
            begun = time.perf_counter()
            accepted = await engine_here.accept(submission(engine_here, waits=True))
            assert accepted.outcome is not None
            outcome = await accepted.outcome
            assert outcome.outcome == "succeeded", outcome
            took.append(time.perf_counter() - begun)
    measured = sorted(took[count // 10 :])  # the first tenth warms up
    return {"p50_ms": measured[count // 2] * 1000}


COMMANDS: dict[str, Any] = {"register": register, "fill": fill, "nap": nap, "latency": latency}


def main() -> None:
    """Run one command and print what it measured as JSON."""
    dsn, command, *rest = sys.argv[1:]
    print(json.dumps(uvloop.run(COMMANDS[command](dsn, int(rest[0]) if rest else 0))))


if __name__ == "__main__":
    main()
