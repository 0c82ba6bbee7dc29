"""`howdah dev`: serve, and serve anew whenever a file of the program changes.

The database stays up between reloads; the serving process is replaced whole, so that no old code
can be left over in it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import watchfiles

from howdah.options import Options
from howdah_api.databases import Tell
from howdah_api.modules import watched_folders
from howdah_api.processes import environment_of
from howdah_api.serve import Stopping

DEPLOYMENT = "dev"
GRACE_SECONDS = 10.0


async def serve_reloading(
    *,
    dsn: str,
    options: Options,
    targets: Sequence[str],
    flags: Sequence[str],
    stopping: Stopping,
    tell: Tell,
) -> None:
    """Run `howdah serve` as a child until asked to stop, and again after each change.

    Args:
        dsn: The database, migrated.
        options: Of the child, all but the deployment's name.
        targets: As given on the command line.
        flags: Further flags for the child.
        stopping: Ends it.
        tell: Told what changed.
    """
    options = replace(options, deployment=options.deployment or DEPLOYMENT)
    environment = environment_of(options, os.environ)
    environment["HOWDAH_DATABASE_URL"] = dsn
    environment.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    command = [sys.executable, "-m", "howdah_api", "serve", *flags, "--", *targets]
    child = await _start(command, environment)
    stopping.before_exit = child.kill
    try:
        changes = watchfiles.awatch(
            *watched_folders(targets),
            watch_filter=watchfiles.PythonFilter(),
            stop_event=stopping.asked,
        )
        async for changed in changes:
            tell(f"{min(path for _, path in changed)} changed, reloading")
            await _stop(child)
            child = await _start(command, environment)
            stopping.before_exit = child.kill
    finally:
        await _stop(child)


async def _start(
    command: Sequence[str], environment: Mapping[str, str]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command, env=dict(environment), stdin=subprocess.DEVNULL, start_new_session=True
    )


async def _stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(child.wait(), GRACE_SECONDS)
    except TimeoutError:
        child.kill()
        await child.wait()
