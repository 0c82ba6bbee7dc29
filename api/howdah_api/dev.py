"""`howdah dev`: serve, and serve anew whenever a file of the program or howdah.toml changes.

The database stays up between reloads; the serving process is replaced whole, so that no old code
can be left over in it. All of them are one deployment, so that invocations in flight go on with the
new code.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import watchfiles

from howdah.config import CONFIG_FILE
from howdah.errors import HowdahError
from howdah.options import Options
from howdah_api.databases import Tell
from howdah_api.modules import watched_folders
from howdah_api.processes import environment_of
from howdah_api.serve import Stopping

DEPLOYMENT = "dev"
GRACE_SECONDS = 10.0
NEAR = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""Where remote deployments may be while somebody writes them: on this machine and around it."""
DRAIN_MAX = timedelta(seconds=2)
"""Attempts that run at a reload are not waited for much longer: they go on with the new code."""


class Changes(watchfiles.PythonFilter):
    """What is worth a reload: the program's Python files, and the file of options.

    Args:
        config: That file, whether it is there or not.
        has_program: Whether there is a program here.
    """

    def __init__(self, config: Path, *, has_program: bool = True) -> None:
        super().__init__()
        self._config = str(config.absolute())
        self._has_program = has_program

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        """Tell whether a change counts."""
        return path == self._config or (self._has_program and super().__call__(change, path))


async def serve_reloading(
    *,
    dsn: str,
    read_options: Callable[[], Options],
    targets: Sequence[str],
    flags: Sequence[str],
    stopping: Stopping,
    tell: Tell,
) -> None:
    """Run `howdah serve` as a child until asked to stop, and again after each change.

    Args:
        dsn: The database, migrated. It stays the same.
        read_options: Reads the child's options; called again at each change.
        targets: As given on the command line.
        flags: Further flags for the child.
        stopping: Ends it.
        tell: Told what changed.
    """
    options = read_options()
    config = options.config or Path(CONFIG_FILE)
    command = [sys.executable, "-m", "howdah_api", "serve", *flags, "--", *targets]
    child = await _start(command, _environment(options, dsn))
    stopping.before_exit = lambda: _kill(child)
    try:
        changes = watchfiles.awatch(
            *_watched(targets, options),
            watch_filter=Changes(config, has_program=bool(targets)),
            stop_event=stopping.asked,
        )
        async for changed in changes:
            what = min(path for _, path in changed)
            try:
                options = read_options()
            except HowdahError as error:
                said = f"{error.message} {error.hint or ''}".strip()
                tell(f"{what} changed, but cannot be used: {said} Serving goes on as before.")
                continue
            tell(f"{what} changed, reloading")
            await _stop(child)
            child = await _start(command, _environment(options, dsn))
    finally:
        await _stop(child)


def _watched(targets: Sequence[str], options: Options) -> list[Path]:
    folders = set(watched_folders(targets))
    if options.config is not None:
        folders.add(options.config.absolute().parent)
    return sorted(folders) or [Path.cwd()]


def _environment(options: Options, dsn: str) -> Mapping[str, str]:
    """The environment of a child with these options."""
    options = replace(
        options,
        deployment=options.deployment or DEPLOYMENT,
        drain_timeout=min(options.drain_timeout, DRAIN_MAX),
        endpoint_allow=(*options.endpoint_allow, *NEAR),
    )
    environment = environment_of(options, os.environ)
    environment["HOWDAH_DATABASE_URL"] = dsn
    environment.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    return environment


async def _start(
    command: Sequence[str], environment: Mapping[str, str]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command, env=dict(environment), stdin=subprocess.DEVNULL, start_new_session=True
    )


def _kill(child: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):  # it may have ended, and nobody looked yet
        child.kill()


async def _stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(child.wait(), GRACE_SECONDS)
    except TimeoutError:
        _kill(child)
        await child.wait()
