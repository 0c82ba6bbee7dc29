"""The services in services.mjs, served by Node with the official TypeScript SDK."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support import npm

SDK: Final = "@restatedev/restate-sdk"
VERSION: Final = "1.17.2"
PROGRAM: Final = Path(__file__).with_name("services.mjs")
READY_SECONDS: Final = 30.0
_LISTENING: Final = re.compile(rb"listening on (\d+) (\d+) (\d+)\n")


@dataclass(frozen=True)
class Ports:
    """Where it listens: HTTP/2 both ways, HTTP/1.1 request by request, and what was executed."""

    streaming: int
    answering: int
    effects: int


async def install(folder: Path) -> None:
    """Install the SDK from the npm registry into a folder, with the program, unless it is there.

    Test runs side by side share the folder.
    """
    await asyncio.to_thread(npm.install, folder, SDK, VERSION)
    program = folder / PROGRAM.name
    if not program.exists() or program.read_bytes() != PROGRAM.read_bytes():
        copied = folder / f"{PROGRAM.name}-{os.getpid()}"
        shutil.copy(PROGRAM, copied)
        copied.replace(program)


@asynccontextmanager
async def running(folder: Path, output: Path, *, is_lazy: bool = False) -> AsyncIterator[Ports]:
    """Serve what was installed, writing to the file `output`; where it listens."""
    with output.open("wb") as sink:
        node = await asyncio.create_subprocess_exec(
            npm.found("node"),
            PROGRAM.name,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={
                **os.environ,
                "LAZY_STATE": "yes" if is_lazy else "no",
                "RESTATE_LOGGING": "ERROR",
            },
        )
    try:
        async with asyncio.timeout(READY_SECONDS):
            while (found := _LISTENING.search(output.read_bytes())) is None:
                assert node.returncode is None, output.read_text(errors="replace")
                await asyncio.sleep(0.02)
        yield Ports(*map(int, found.groups()))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)  # `node` may be a script that starts it
        await node.wait()
