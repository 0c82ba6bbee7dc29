"""What the comparison needs from npm: one folder, made on first use."""

import asyncio
import json
import os
import shutil
from pathlib import Path

from benchmarks.processes import output_of, program

FOLDER = Path(__file__).parent.parent / ".npm-peer-restate"
PACKAGES = {"@restatedev/restate-server": "1.7.12", "@restatedev/restate-sdk": "1.17.2"}
INSTALL_SECONDS = 600.0

_lock = asyncio.Lock()


async def install() -> None:
    """Install the packages unless they are there; raise BenchmarkError where that cannot be."""
    program("node", "Node 20 or newer runs the TypeScript SDK (https://nodejs.org)")
    npm = program("npm", "npm comes with Node (https://nodejs.org)")
    wanted = json.dumps({"private": True, "dependencies": PACKAGES}, indent=2)
    done = FOLDER / "installed.json"
    async with _lock:
        if done.exists() and done.read_text() == wanted:
            return
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
        (FOLDER / "package.json").write_text(wanted)
        command = [npm, "install", "--prefix", str(FOLDER), "--no-fund", "--no-audit", "--silent"]
        await output_of(command, env=os.environ, timeout=INSTALL_SECONDS)
        done.write_text(wanted)
