import pytest

from support.batches import Connection, register_workers


@pytest.fixture
async def worker(db: Connection) -> int:
    """Two registered workers, of which this is the first; object Seat and service Mailer."""
    return await register_workers(db)
