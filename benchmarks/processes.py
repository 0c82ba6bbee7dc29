"""Child processes: started in a group of their own, watched, and ended with their children.

Owns nothing that outlives it: leaving a context ends the whole group, whatever happened inside.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

STOP_SECONDS = 40.0
LOG_TAIL_LINES = 25


class BenchmarkError(Exception):
    """A measurement could not be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that was started and the file that holds what it printed."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def rss_bytes(self) -> int:
        """Resident bytes of the process and of all its descendants."""
        return resident_bytes(self.process.pid)

    def complain(self, what: str) -> BenchmarkError:
        """Return an error that says `what` and ends with the last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return BenchmarkError("\n".join([what, *lines]))


def resident_bytes(root: int) -> int:
    """Return the resident set sizes of `root` and its descendants, added up, in bytes."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,rss="], check=True, capture_output=True, text=True
    ).stdout
    children: dict[int, list[int]] = defaultdict(list)
    kilobytes: dict[int, int] = {}
    for line in listing.splitlines():
        pid, parent, rss = (int(field) for field in line.split())
        children[parent].append(pid)
        kilobytes[pid] = rss
    total, pending = 0, [root]
    while pending:
        pid = pending.pop()
        total += kilobytes.get(pid, 0) * 1024
        pending += children[pid]
    return total


def free_port() -> int:
    """Return a TCP port on the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str, hint: str) -> str:
    """Return the path of the program `name`, or raise BenchmarkError that ends with `hint`.

    One that came with the Python environment goes before the system's.
    """
    path = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    if path is None:
        raise BenchmarkError(f"{name} is not installed: {hint}")
    return path


@asynccontextmanager
async def running(
    command: Sequence[str], *, env: Mapping[str, str], log: Path
) -> AsyncIterator[Running]:
    """Run `command` while the context is open; then SIGTERM, and SIGKILL if that is not heeded."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env=dict(env), stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield Running(process, log)
    finally:
        await _end(process)


async def output_of(command: Sequence[str], *, env: Mapping[str, str], timeout: float) -> str:
    """Run `command` to its end and return what it printed; raise BenchmarkError if it failed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=dict(env),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate()
    except TimeoutError:
        raise BenchmarkError(f"no end within {timeout:.0f} s: {' '.join(command)}") from None
    finally:
        await _end(process)
    if process.returncode != 0:
        tail = "\n".join(err.decode(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        raise BenchmarkError(f"exit code {process.returncode}: {' '.join(command)}\n{tail}")
    return out.decode()


async def until_healthy(started: Running, url: str, *, timeout: float = 60.0) -> None:
    """Wait until GET `url` answers 200; raise BenchmarkError if the process ends before that."""
    async with httpx.AsyncClient() as client:
        try:
            async with asyncio.timeout(timeout):
                while not await _answers(client, url):
                    if started.process.returncode is not None:
                        raise started.complain(f"ended with {started.process.returncode}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise started.complain(f"{url} was not healthy within {timeout:.0f} s") from None


async def until_listening(started: Running, port: int, *, timeout: float = 60.0) -> None:
    """Wait until somebody listens on `port`; raise BenchmarkError if the process ends before."""
    try:
        async with asyncio.timeout(timeout):
            while not await _listens(port):
                if started.process.returncode is not None:
                    raise started.complain(f"ended with {started.process.returncode}")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise started.complain(f"nobody listened on {port} within {timeout:.0f} s") from None


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            pass
    # The group too: a supervisor that was killed leaves its children behind.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    await process.wait()
