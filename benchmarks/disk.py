"""How long this disk takes to make a write durable: what every figure here waits for."""

import os
import statistics
import time
from pathlib import Path

WRITE_COUNT = 100
WRITE_BYTES = 8192


def fsync_us(folder: Path) -> float:
    """The median time in µs of writing 8 kB at the end of a file and syncing it."""
    path = folder / "fsync.probe"
    took: list[float] = []
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for _ in range(WRITE_COUNT):
            begun = time.perf_counter()
            os.pwrite(file, bytes(WRITE_BYTES), 0)
            os.fsync(file)
            took.append((time.perf_counter() - begun) * 1e6)
    finally:
        os.close(file)
        path.unlink()
    return statistics.median(took)
