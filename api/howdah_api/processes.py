"""Several serving processes behind the same ports.

The parent owns the sockets (and the embedded Postgres); the children inherit them and do the work.
A child that dies is started again, after a pause that grows. A parent that dies is noticed through
a pipe, and its children drain.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from time import monotonic

from howdah.options import Options, format_value, knob_of
from howdah_api.exits import USAGE_EXIT_CODE
from howdah_api.serve import Listeners, Stopping

logger = logging.getLogger(__name__)

RESTART_SECONDS_MIN = 0.2
RESTART_SECONDS_MAX = 10.0
HEALTHY_SECONDS = 30.0  # after this long the next restart is quick again


def environment_of(options: Options, base: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a child reads these very options."""
    environment = dict(base)
    for option in fields(Options):
        knob = knob_of(option)
        value = getattr(options, option.name)
        environment.pop(knob.env, None)
        if value is not None:
            environment[knob.env] = format_value(value, knob.unit)
    return environment


class Child:
    """One serving process, started again for as long as the parent runs."""

    def __init__(
        self,
        targets: Sequence[str],
        flags: Sequence[str],
        environment: Mapping[str, str],
        listeners: Listeners,
        *,
        parent_fd: int,
        ready_fd: int,
    ) -> None:
        self._targets = targets
        self._flags = flags
        self._environment = environment
        self._listeners = listeners
        self._parent_fd = parent_fd
        self._ready_fd = ready_fd
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, stopping: Stopping) -> int:
        """Keep it running until asked to stop.

        Returns:
            Its last exit code; 2 when it could not start because of what the user asked for.
        """
        pause = RESTART_SECONDS_MIN
        while True:
            begun = monotonic()
            self._process = await self._start()
            pid = self._process.pid
            code = await self._process.wait()
            self._process = None
            if stopping.asked.is_set() or code == USAGE_EXIT_CODE:
                return code
            if monotonic() - begun > HEALTHY_SECONDS:
                pause = RESTART_SECONDS_MIN
            facts = {"pid": pid, "problem": f"exit code {code}"}
            logger.error("process died and is started again", extra=facts)
            try:
                await asyncio.wait_for(stopping.asked.wait(), pause)
            except TimeoutError:
                pause = min(pause * 2, RESTART_SECONDS_MAX)
            else:
                return 0

    def signal(self, number: int) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _start(self) -> asyncio.subprocess.Process:
        passed = [self._parent_fd, self._ready_fd]
        command = [sys.executable, "-m", "howdah_api", "serve-child", *map(str, passed)]
        for flag, sock in (
            ("--ingress-fd", self._listeners.ingress),
            ("--admin-fd", self._listeners.admin),
        ):
            if sock is not None:
                command += [flag, str(sock.fileno())]
                passed.append(sock.fileno())
        # A session of its own: Ctrl-C reaches the parent only, which then asks each child once.
        return await asyncio.create_subprocess_exec(
            *command,
            *self._flags,
            "--",
            *self._targets,
            env=dict(self._environment),
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


async def serve_processes(
    *,
    dsn: str,
    options: Options,
    targets: Sequence[str],
    flags: Sequence[str],
    listeners: Listeners,
    stopping: Stopping,
    on_ready: Callable[[], None],
) -> int:
    """Run `options.processes` children until asked to stop; return the exit code.

    `flags` are those of `serve` that are no options. `on_ready` is called once all of the children
    answer requests.
    """
    environment = environment_of(options, os.environ)
    environment["HOWDAH_DATABASE_URL"] = dsn
    environment["HOWDAH_PROCESSES"] = "1"
    reading, writing = os.pipe()  # nobody writes: its end of file is the parent's
    ready_reading, ready_writing = os.pipe()
    _watch_ready(ready_reading, options.processes, on_ready)
    children = [
        Child(targets, flags, environment, listeners, parent_fd=reading, ready_fd=ready_writing)
        for _ in range(options.processes)
    ]
    stopping.before_exit = lambda: _signal_all(children, signal.SIGKILL)
    tasks = [asyncio.ensure_future(child.run(stopping)) for child in children]
    asked = asyncio.ensure_future(stopping.asked.wait())
    try:
        await asyncio.wait([asked, *tasks], return_when=asyncio.FIRST_COMPLETED)
        stopping.asked.set()
        _signal_all(children, signal.SIGTERM)
        codes = await asyncio.gather(*tasks)
        return max(codes) if USAGE_EXIT_CODE in codes else 0
    finally:
        asked.cancel()
        _signal_all(children, signal.SIGKILL)
        asyncio.get_running_loop().remove_reader(ready_reading)
        for pipe_end in (reading, writing, ready_reading, ready_writing):
            os.close(pipe_end)


def _signal_all(children: Sequence[Child], number: int) -> None:
    for child in children:
        child.signal(number)


def say_ready(ready_fd: int) -> None:
    """Tell the parent that this child answers requests."""
    os.write(ready_fd, b"1")
    os.close(ready_fd)


def _watch_ready(ready_fd: int, count: int, on_ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    waited_for = count

    def one_more() -> None:
        nonlocal waited_for
        waited_for -= len(os.read(ready_fd, 1))
        if waited_for == 0:
            on_ready()

    loop.add_reader(ready_fd, one_more)
