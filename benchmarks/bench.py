"""What a measurement has at hand: sizes, the server, the peers, howdah's own processes."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.postgres import Postgres
from benchmarks.processes import Running, free_port, output_of, running, until_healthy

ROOT = Path(__file__).parent.parent
STEPS = "benchmarks/programs/steps.py"
TICKETS = "examples/tickets.py"
EXTREMES = "benchmarks/programs/extremes.py"
RUN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work each measurement does."""

    queue_count: int = 20_000
    peer_queue_count: int = 1_000
    load_seconds: int = 10
    peer_load_seconds: int = 20
    latency_count: int = 2_000
    peer_latency_count: int = 100
    sleeping_count: int = 100_000
    few_rows: int = 1_000
    many_rows: int = 1_000_000
    callee_count: int = 1_000
    step_count: int = 1_000
    awakeable_count: int = 10_000
    entry_count: int = 1_000_000
    large_bytes: int = 10 * 2**20
    beside_ms: int = 5_000


QUICK = Sizes(
    queue_count=5_000,
    peer_queue_count=200,
    load_seconds=3,
    peer_load_seconds=8,
    latency_count=300,
    peer_latency_count=30,
    sleeping_count=10_000,
    many_rows=100_000,
    awakeable_count=2_000,
    entry_count=100_000,
    large_bytes=2 * 2**20,
    beside_ms=1_000,
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A process of howdah and the URLs of its two ports."""

    process: Running
    ingress: str
    admin: str


@dataclass(frozen=True, slots=True)
class Bench:
    """Passed to every measurement. `tell` shows in words what is being done now."""

    sizes: Sizes
    postgres: Postgres
    folder: Path
    tell: Callable[[str], None]

    @asynccontextmanager
    async def howdah(
        self, dsn: str, module: str, *flags: str
    ) -> AsyncIterator[tuple[Running, str]]:
        """Run `howdah serve MODULE` with default options; yields the process and its ingress URL.

        With flags that leave the ingress out, the process is running but may not be ready yet.
        """
        async with self.howdah_runtime(dsn, module, *flags) as runtime:
            yield runtime.process, runtime.ingress

    @asynccontextmanager
    async def howdah_runtime(
        self, dsn: str, *arguments: str, **options: str
    ) -> AsyncIterator[Runtime]:
        """Run `howdah serve ARGUMENTS`, with options from variables of the environment."""
        ingress, admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
        command = [sys.executable, "-m", "howdah_api", "serve", *arguments]
        command += ["--database-url", dsn, "--ingress", ingress, "--admin", admin]
        log = self.folder / "howdah.log"
        async with running(command, env={**_clean(dsn), **options}, log=log) as started:
            if "--roles" not in arguments:
                await until_healthy(started, f"http://{ingress}/restate/health")
            yield Runtime(started, f"http://{ingress}", f"http://{admin}")

    async def in_process(self, dsn: str, *arguments: str) -> dict[str, float]:
        """Run `benchmarks.in_process` to its end and return what it measured."""
        command = [sys.executable, "-m", "benchmarks.in_process", dsn, *arguments]
        printed = await output_of(command, env=_clean(dsn), timeout=RUN_SECONDS)
        result: dict[str, float] = json.loads(printed.splitlines()[-1])
        return result


_KEPT = "HOWDAH_ALLOW_UNSAFE_POSTGRES"
"""Lets a server be measured that does not sync, as that of the tests; it changes nothing else."""


def _clean(dsn: str) -> dict[str, str]:
    """The environment without anything that would change howdah's defaults."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == _KEPT or not name.startswith("HOWDAH_")
    }
    return {**kept, "HOWDAH_DATABASE_URL": dsn}
