"""The peers: other durable execution libraries on Postgres, installed from PyPI on first use.

Each has a virtual environment of its own beside this file and a program in `programs/` that does
howdah's work in that library's manner. A peer that cannot be installed is left out of the table,
with the reason, and nothing else changes.
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.processes import BenchmarkError, free_port, output_of, running, until_healthy

HERE = Path(__file__).parent
INSTALL_SECONDS = 600.0
RUN_SECONDS = 900.0
SERVER_PACKAGES = ("hypercorn==0.18.0", "starlette==1.10.0", "uvloop==0.23.0")


class Rival(Protocol):
    """Whoever has a column in the table beside howdah's."""

    @property
    def name(self) -> str:
        """In short."""
        ...

    @property
    def title(self) -> str:
        """As the table shows it."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """What it consists of, with versions."""
        ...

    @property
    def settings(self) -> str:
        """What was set, in words."""
        ...

    async def install(self) -> None:
        """Install it unless it is there; raise BenchmarkError where that cannot be."""
        ...


@dataclass(frozen=True, slots=True)
class Peer:
    """One library to compare with.

    `packages` are pinned: a figure is only comparable with a later one of the same versions.
    `settings` says in words what was set away from the library's defaults.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    settings: str

    @property
    def folder(self) -> Path:
        """The peer's virtual environment."""
        return HERE / f".venv-peer-{self.name}"

    @property
    def python(self) -> Path:
        """The interpreter of the peer's virtual environment."""
        return self.folder / "bin" / "python"

    async def install(self) -> None:
        """Make the virtual environment unless it is there with the packages asked for."""
        wanted = "\n".join((*self.packages, *SERVER_PACKAGES))
        done = self.folder / "installed.txt"
        if done.exists() and done.read_text() == wanted:
            return
        await output_of(
            [sys.executable, "-m", "venv", "--clear", str(self.folder)],
            env=os.environ,
            timeout=INSTALL_SECONDS,
        )
        install = [str(self.python), "-m", "pip", "install", "--quiet", *wanted.splitlines()]
        await output_of(install, env=os.environ, timeout=INSTALL_SECONDS)
        done.write_text(wanted)

    async def run(self, dsn: str, *arguments: str) -> dict[str, float]:
        """Run the peer's program to its end and return what it measured."""
        printed = await output_of(self._command(*arguments), env=_env(dsn), timeout=RUN_SECONDS)
        try:
            result: dict[str, float] = json.loads(printed.splitlines()[-1])
        except (IndexError, ValueError):
            raise BenchmarkError(f"{self.title} printed no result:\n{printed}") from None
        return result

    @asynccontextmanager
    async def serving(self, dsn: str, log: Path) -> AsyncIterator[str]:
        """Serve the peer's program over HTTP while the context is open; yields its URL."""
        port = free_port()
        command = self._command("serve", str(port))
        async with running(command, env=_env(dsn), log=log) as started:
            url = f"http://127.0.0.1:{port}"
            await until_healthy(started, f"{url}/health")
            yield url

    def _command(self, *arguments: str) -> list[str]:
        return [str(self.python), str(HERE / "programs" / f"{self.name}_peer.py"), *arguments]


def _env(dsn: str) -> dict[str, str]:
    return {**os.environ, "PEER_DATABASE_URL": dsn}


PEERS = (
    Peer(
        "dbos",
        "DBOS",
        ("dbos==3.4.0",),
        "async workflows and steps; queue with worker_concurrency 50, polled every 0.1 s;"
        " log level ERROR; everything else as by default",
    ),
    Peer(
        "absurd",
        "Absurd",
        ("absurd-sdk==0.5.1", "absurdctl==0.5.1"),
        "async SDK; worker with concurrency 50, polling every 0.02 s; everything else as by"
        " default, the client's own result polling included",
    ),
)
