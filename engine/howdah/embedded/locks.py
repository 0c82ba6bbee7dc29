"""Locks between processes that share a data directory; the kernel drops those of a killed one."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

_POLL_S: Final = 0.05


class FileLock:
    """An advisory lock on a file, shared or exclusive. A forked child does not inherit a use."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_lock(self, *, shared: bool = False) -> bool:
        """Take the lock if it is free, or change from one mode to the other; never wait."""
        try:
            fcntl.flock(
                self._descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
            )
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Release the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @classmethod
    async def take(cls, path: Path, *, shared: bool = False) -> Self:
        """Wait for the lock without blocking the event loop."""
        lock = cls(path)
        try:
            while not lock.try_lock(shared=shared):
                await asyncio.sleep(_POLL_S)
        except BaseException:
            lock.close()
            raise
        return lock


@asynccontextmanager
async def exclusive(path: Path) -> AsyncIterator[None]:
    """Hold a file's lock alone for the length of a block."""
    lock = await FileLock.take(path)
    try:
        yield
    finally:
        lock.close()
