"""Processes that use an embedded Postgres, and what can be seen of them."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from howdah.embedded import EmbeddedPostgres, postmaster

_USER = """
import asyncio, sys
from pathlib import Path
from howdah.embedded import EmbeddedPostgres, server

async def main():
    server.IDLE_SECONDS = float(sys.argv[2])
    postgres = await EmbeddedPostgres.start(Path(sys.argv[1]))
    print(postgres.pid, postgres.dsn, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await postgres.stop()

asyncio.run(main())
"""


class User:
    """A process that uses the server of a data directory until it is told to leave, or killed."""

    def __init__(self, data_dir: Path, *, idle_seconds: float = 10) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _USER, str(data_dir), str(idle_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        pid, self.dsn = self._process.stdout.readline().split()
        self.server_pid = int(pid)

    def leave(self) -> None:
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def directory() -> Iterator[Path]:
    """A short path that every account can reach, whose server is ended whatever the test did."""
    path = Path(tempfile.mkdtemp(prefix="howdah-test-", dir="/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        for cluster in path.rglob("data"):
            end(cluster)
        shutil.rmtree(path)


def end(cluster: Path) -> None:
    """End the server of a cluster at once, if there is one."""
    found = postmaster.find(cluster)
    if found is not None:
        os.kill(found.pid, signal.SIGQUIT)
        wait_until(lambda: not is_alive(found.pid))


async def create(data_dir: Path) -> None:
    """Make a data directory whose server does not run."""
    await (await EmbeddedPostgres.start(data_dir)).stop()


async def query(dsn: str, statement: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def query_when_back(dsn: Callable[[], str], statement: str) -> Any:
    """Return what a statement answers once the server takes it."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await query(dsn(), statement)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie, which nobody may be left to collect, does not."""
    try:
        return _stat(pid)[0] != "Z"
    except FileNotFoundError:
        return False


def parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
