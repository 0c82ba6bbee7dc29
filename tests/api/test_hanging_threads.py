"""A process ends after its drain time, whatever its threads do."""

import signal
import time
from pathlib import Path

import asyncpg
import httpx
import pytest

from support.engines import until
from support.servers import Servers

PROGRAM = Path(__file__).with_name("hanging_program.py")
DRAIN_SECONDS = 1.0
SLACK_SECONDS = 8.0
"""For the rest of the shutdown, on a busy machine; a join of the threads would take ten minutes."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_ends_though_its_threads_hang(
    servers: Servers, dsn: str, number: signal.Signals
) -> None:
    served = servers.serve(dsn, str(PROGRAM), HOWDAH_DRAIN_TIMEOUT=f"{DRAIN_SECONDS}s")
    db = await asyncpg.connect(dsn)
    try:
        async with httpx.AsyncClient(base_url=served.ingress, trust_env=False) as client:
            handlers = ("handler", "own_step", "begun_step", "async_step", "computes")
            for handler in handlers:
                response = await client.post(f"/Hanging/{handler}/send")
                assert response.status_code < 300
        await until(
            db, "select count(*) = $1 from howdah.invocations where status = 'running'",
            len(handlers),
        )  # fmt: skip
        began = time.monotonic()
        assert served.stop(number, seconds=30) == 0
        assert time.monotonic() - began < DRAIN_SECONDS + SLACK_SECONDS
        # All leases were given back.
        assert await db.fetchval("select bool_and(status = 'ready') from howdah.invocations")
    finally:
        await db.close()
