import asyncio
import itertools
import sys
from pathlib import Path

import asyncpg
import pytest
from pytest_postgresql.executors import NoopExecutor

from support import postgres
from support.engines import assert_healthy

PROCESS = Path(__file__).with_name("crashing_process.py")
PROGRAMS = [
    Path(__file__).parents[2] / "examples" / "tickets.py",
    Path(__file__).with_name("sync_tickets.py"),
]
SWEEPS = 4
"""Databases that are swept side by side: most of a sweep is waiting for a takeover."""
LOOKS_MIN = 10
ROW = """select output, journal_length, (select value from howdah.state where name = 'cart')
           from howdah.invocations where idempotency_key = 'joe-seat2B'"""
JOURNAL = """select type, name, value from howdah.journal
              where invocation_id = (select id from howdah.invocations
                                      where idempotency_key = 'joe-seat2B') order by index"""
COUNT = "select count(*) from howdah.invocations"
WIPE = """truncate howdah_core.invocation, howdah_core.live, howdah_core.outcome,
  howdah_core.journal, howdah_core.mailbox, howdah_core.keylock, howdah_core.inbox,
  howdah_core.state, howdah_core.idem, howdah_core.sink, howdah_core.failure, howdah_core.worker"""


async def ask(program: Path, dsn: str, kill_at: int) -> tuple[int, str]:
    """Run the process; returns (exit code, what it printed)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), str(program), dsn, str(kill_at),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    assert process.returncode in (0, -9), err.decode()
    return process.returncode, out.decode().strip()


async def ask_to_the_end(program: Path, dsn: str) -> str:
    """Run the process until it is through, as its supervisor would."""
    code, out = await ask(program, dsn, 0)
    assert code == 0
    return out


@pytest.mark.timeout(900)
@pytest.mark.parametrize("program", PROGRAMS, ids=["async", "sync"])
async def test_a_crash_at_any_round_trip_changes_nothing(
    program: Path, postgres_server: postgres.Server, template_database: NoopExecutor
) -> None:
    looks = itertools.count(1)
    survived: list[int] = []

    async def sweep() -> None:
        async with postgres.database(postgres_server, template_database.template_dbname) as dsn:
            db = await asyncpg.connect(dsn)
            try:
                assert await ask_to_the_end(program, dsn) == "true"
                expected = await db.fetchrow(ROW)
                journal = await db.fetch(JOURNAL)
                count = await db.fetchval(COUNT)
                assert expected is not None
                assert expected[2] == '["seat2B"]'
                for kill_at in looks:
                    if survived:
                        return
                    await db.execute(WIPE)
                    code, _ = await ask(program, dsn, kill_at)
                    if code == 0:
                        survived.append(kill_at)
                        return
                    assert await ask_to_the_end(program, dsn) == "true", f"killed at look {kill_at}"
                    assert await db.fetchrow(ROW) == expected, f"killed at look {kill_at}"
                    assert await db.fetch(JOURNAL) == journal, f"killed at look {kill_at}"
                    assert await db.fetchval(COUNT) == count, f"killed at look {kill_at}"
                    await assert_healthy(db)
            finally:
                await db.close()

    async with asyncio.TaskGroup() as sweeps:
        for _ in range(SWEEPS):
            sweeps.create_task(sweep())
    # It was killed at every look until the scenario ran to its end.
    assert min(survived) > LOOKS_MIN
