"""Locks between processes that share a data directory; the kernel drops those of a killed one."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

_POLL_S: Final = 0.02


class FileLock:
    """An advisory lock on a file, shared or exclusive. Programs that are started do not inherit it.

    Attributes:
        descriptor: The open file; a process that is given it holds the lock as well.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_lock(self, *, shared: bool = False) -> bool:
        """Take the lock if it is free, or change from one mode to the other; never wait.

        A change that does not succeed loses the lock that was held before.
        """
        try:
            fcntl.flock(
                self.descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
            )
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let go of the lock; it is free once every process that holds it has."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

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


def is_free(path: Path) -> bool:
    """Tell whether nobody holds a file's lock."""
    lock = FileLock(path)
    try:
        return lock.try_lock()
    finally:
        lock.close()


@asynccontextmanager
async def exclusive(path: Path) -> AsyncIterator[None]:
    """Hold a file's lock alone for the length of a block."""
    lock = await FileLock.take(path)
    try:
        yield
    finally:
        lock.close()
