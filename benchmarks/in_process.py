"""What needs an engine without HTTP, as a program of its own.

    python -m benchmarks.in_process DSN COMMAND [N...]

`register` makes the handlers of the figures known; `fill` accepts N three-step invocations in a
process that has no worker, so that they wait in the queue; `nap` and `patient` the same of
invocations that sleep or wait for an awakeable. Every other command measures with an engine in this
process, and prints what it measured as JSON: `latency` submits N invocations one after the other;
the rest are in `in_process_extremes.py`.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from benchmarks.programs import extremes
from benchmarks.programs.steps import sleeper, steps
from howdah import Service, VirtualObject, Workflow
from howdah.options import Options
from howdah.store.units import Outcome
from howdah.worker.engine import Engine, Submission

SUBMITTED_AT_ONCE = 500

SERVICES: list[Service | VirtualObject | Workflow] = [
    steps,
    sleeper,
    extremes.callees,
    extremes.fan,
    extremes.chain,
    extremes.patient,
    extremes.ledger,
    extremes.large,
]

Command = Callable[..., Coroutine[Any, Any, dict[str, float]]]
"""Takes the URL of the database and the command's numbers."""


@asynccontextmanager
async def engine(
    dsn: str, roles: set[str], before_call: Callable[[str], None] | None = None
) -> AsyncIterator[Engine]:
    """A started engine; drained and stopped when the context is left."""
    made = Engine(
        dsn=dsn,
        options=Options(roles=frozenset(roles)),
        services=SERVICES if "worker" in roles else [],
        before_call=before_call,
    )
    await made.start()
    try:
        yield made
    finally:
        await made.drain()
        await made.stop()


def submission(
    of: Engine, target: str, body: bytes, *, key: str | None = None, waits: bool
) -> Submission:
    """A request for `Service/handler`."""
    service, handler = target.split("/")
    row = of.registry.service(service)
    assert row is not None
    return Submission(
        handler=row.handlers[handler],
        key=key,
        body=body,
        headers=[],
        idempotency_key=None,
        delay=None,
        wait=waits,
    )


async def outcome_of(engine_here: Engine, request: Submission) -> Outcome:
    """Accept a request, wait until it is done, and return its outcome, which must be a success."""
    accepted = await engine_here.accept(request)
    assert accepted.outcome is not None
    outcome = await accepted.outcome
    assert outcome.outcome == "succeeded", outcome
    return outcome


async def accept_many(accepting: Engine, count: int, again: Submission) -> None:
    """Accept the same request `count` times, many at once."""
    remaining = iter(range(count))

    async def submit() -> None:
        for _ in remaining:
            await accepting.accept(again)

    await asyncio.gather(*(submit() for _ in range(SUBMITTED_AT_ONCE)))


async def register(dsn: str) -> dict[str, float]:
    """Start and stop a worker, so that the database knows the handlers."""
    async with engine(dsn, {"worker"}):
        return {}


def accepting(target: str, body: bytes) -> Command:
    """The command that accepts N requests which nobody executes in this process."""

    async def accept(dsn: str, count: int) -> dict[str, float]:
        async with engine(dsn, {"ingress"}) as here:
            await accept_many(here, count, submission(here, target, body, waits=False))
        return {}

    return accept


async def latency(dsn: str, count: int) -> dict[str, float]:
    """The median time from submitting an invocation to having its outcome, one at a time."""
    async with engine(dsn, {"ingress", "worker"}) as here:
        request = submission(here, "Steps/three", b'"x"', waits=True)
        took: list[float] = []
        for _ in range(count + count // 10):
            begun = time.perf_counter()
            await outcome_of(here, request)
            took.append(time.perf_counter() - begun)
    measured = sorted(took[count // 10 :])  # the first tenth warms up
    return {"p50_ms": measured[count // 2] * 1000}


def commands() -> dict[str, Command]:
    """All commands by name."""
    from benchmarks import in_process_extremes

    return {
        "register": register,
        "fill": accepting("Steps/three", b'"x"'),
        "nap": accepting("Sleeper/nap", b""),
        "patient": accepting("Patient/wait", b""),
        "latency": latency,
        **in_process_extremes.COMMANDS,
    }


def main() -> None:
    """Run one command and print what it measured as JSON."""
    dsn, command, *rest = sys.argv[1:]
    measuring = commands()[command](dsn, *(int(number) for number in rest))
    print(json.dumps(uvloop.run(measuring)))


if __name__ == "__main__":
    main()
