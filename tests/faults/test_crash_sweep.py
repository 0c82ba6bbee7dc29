import asyncio
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from support.engines import assert_healthy

PROCESS = Path(__file__).with_name("crashing_process.py")
LOOKS_MAX = 120
ROW = """select output, journal_length, (select value from howdah.state where name = 'cart')
           from howdah.invocations where idempotency_key = 'joe-seat2B'"""
JOURNAL = """select type, name, value from howdah.journal
              where invocation_id = (select id from howdah.invocations
                                      where idempotency_key = 'joe-seat2B') order by index"""
COUNT = "select count(*) from howdah.invocations"
WIPE = """truncate howdah_core.invocation, howdah_core.live, howdah_core.outcome,
  howdah_core.journal, howdah_core.mailbox, howdah_core.keylock, howdah_core.inbox,
  howdah_core.state, howdah_core.idem, howdah_core.sink, howdah_core.failure, howdah_core.worker"""


async def ask(dsn: str, kill_at: int) -> tuple[int, str]:
    """Run the process; returns (exit code, what it printed)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), dsn, str(kill_at),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    assert process.returncode in (0, -9), err.decode()
    return process.returncode, out.decode().strip()


@pytest.mark.timeout(600)
async def test_a_crash_at_any_round_trip_changes_nothing(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    assert await ask(dsn, 0) == (0, "true")
    expected = await db.fetchrow(ROW)
    journal = await db.fetch(JOURNAL)
    count = await db.fetchval(COUNT)
    assert expected is not None
    assert expected[2] == '["seat2B"]'

    for kill_at in range(1, LOOKS_MAX):
        await db.execute(WIPE)
        code, _ = await ask(dsn, kill_at)
        if code == 0:
            break
        assert await ask(dsn, 0) == (0, "true"), f"killed at look {kill_at}"
        assert await db.fetchrow(ROW) == expected, f"killed at look {kill_at}"
        assert await db.fetch(JOURNAL) == journal, f"killed at look {kill_at}"
        assert await db.fetchval(COUNT) == count, f"killed at look {kill_at}"
        await assert_healthy(db)
    else:
        pytest.fail("the scenario never ran to its end")
    assert kill_at > 10
