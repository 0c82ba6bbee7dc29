import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from howdah.embedded import EmbeddedPostgres
from support import embedded


@pytest.fixture(scope="session")
def pattern_dir() -> Iterator[Path]:
    """A data directory to copy from: making one takes longer than most tests."""
    with embedded.directory() as path:
        asyncio.run(embedded.create(path))
        yield path


@pytest.fixture
def data_dir(pattern_dir: Path, new_dir: Path) -> Path:
    """A data directory of the test's own whose server does not run."""
    subprocess.run(["cp", "-a", f"{pattern_dir}/.", new_dir], check=True)
    return new_dir


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[EmbeddedPostgres]:
    running = await EmbeddedPostgres.start(data_dir)
    try:
        yield running
    finally:
        await running.stop()


@pytest.fixture
def is_root() -> bool:
    return os.geteuid() == 0
