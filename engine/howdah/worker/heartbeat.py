"""The heartbeat: a counter in the worker's row, raised from a thread of its own.

A busy event loop can't lose it; C code that holds the interpreter for longer than the lease does.
Its connection is the worker's sign of life: when it ends, others look sooner.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import asyncpg

from howdah.errors import StoreUnavailable
from howdah.store.database import DRIVER_ERRORS, connect

BEAT = "select howdah_core.beat($1)"
BEATS_PER_LEASE = 10
BEAT_SECONDS_MAX = 1.0
RECONNECT_SECONDS = 0.2


class Heartbeat:
    """Beats for one process until stopped.

    Args:
        worker_no: Asked before each beat: it changes when the process starts over.
        on_fenced: Called in the heartbeat's thread, with the number that was fenced.
    """

    def __init__(
        self,
        dsn: str,
        lease_seconds: float,
        worker_no: Callable[[], int],
        on_fenced: Callable[[int], None],
    ) -> None:
        self._dsn = dsn
        self._period = min(lease_seconds / BEATS_PER_LEASE, BEAT_SECONDS_MAX)
        self._worker_no = worker_no
        self._on_fenced = on_fenced
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="howdah heartbeat", daemon=True)
        self.renewed_at = monotonic()
        """When the last beat that was answered was *sent*."""

    def start(self) -> None:
        """Start the thread."""
        self.renewed_at = monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Stop and wait for the thread."""
        self._stop.set()
        with contextlib.suppress(RuntimeError):  # its loop may just have ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._ending.set)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        asyncio.run(self._beat_on())

    async def _beat_on(self) -> None:
        connection: asyncpg.Connection[Any] | None = None
        self._loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            try:
                if connection is None or connection.is_closed():
                    connection = await connect(self._dsn, "heartbeat")
                sent_at, worker_no = monotonic(), self._worker_no()
                beat = await connection.fetchval(BEAT, worker_no, timeout=self._period * 5)
                if beat is None:
                    self._on_fenced(worker_no)
                else:
                    self.renewed_at = sent_at
                await self._pause(self._period)
            except (StoreUnavailable, *DRIVER_ERRORS):
                if connection is not None:
                    connection.terminate()
                    connection = None
                await self._pause(RECONNECT_SECONDS)
        if connection is not None:
            with contextlib.suppress(*DRIVER_ERRORS):
                await connection.close(timeout=1)

    async def _pause(self, seconds: float) -> None:
        """Wait, or until told to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()
