"""The services in services.mjs, served by Node with the official TypeScript SDK."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SDK: Final = "@restatedev/restate-sdk"
VERSION: Final = "1.17.2"
PROGRAM: Final = Path(__file__).with_name("services.mjs")
INSTALL_SECONDS: Final = 120.0
READY_SECONDS: Final = 30.0
_LISTENING: Final = re.compile(rb"listening on (\d+) (\d+) (\d+)\n")


@dataclass(frozen=True)
class Ports:
    """Where it listens: HTTP/2 both ways, HTTP/1.1 request by request, and what was executed."""

    streaming: int
    answering: int
    effects: int


def _found(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, (
        f"there is no {program}: the tests of the TypeScript SDK need Node and npm"
    )
    return path


async def install(folder: Path) -> None:
    """Install the SDK from the npm registry into a folder, unless it is there.

    Test runs side by side share the folder: one installs, the others wait.
    """
    with (folder / "lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        await _install(folder)
        program = folder / PROGRAM.name
        if not program.exists() or program.read_bytes() != PROGRAM.read_bytes():
            shutil.copy(PROGRAM, folder)


async def _install(folder: Path) -> None:
    installed = folder / "node_modules" / SDK / "package.json"
    if not installed.exists() or json.loads(installed.read_text())["version"] != VERSION:
        package = {"private": True, "type": "module", "dependencies": {SDK: VERSION}}
        (folder / "package.json").write_text(json.dumps(package))
        command = [_found("npm"), "install", "--no-audit", "--no-fund", "--loglevel=error"]
        npm = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(npm.communicate(), INSTALL_SECONDS)
        assert npm.returncode == 0, said.decode(errors="replace")


@asynccontextmanager
async def running(folder: Path, output: Path, *, is_lazy: bool = False) -> AsyncIterator[Ports]:
    """Serve what was installed, writing to the file `output`; where it listens."""
    with output.open("wb") as sink:
        node = await asyncio.create_subprocess_exec(
            _found("node"),
            PROGRAM.name,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=asyncio.subprocess.STDOUT,
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
        if node.returncode is None:
            node.kill()
        await node.wait()
