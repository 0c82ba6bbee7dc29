"""Operations and cleaning read a few pages, however long the history is."""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from pytest_postgresql.executors import NoopExecutor

from support import histories, postgres
from support.histories import Database

INVOCATIONS = 50_000
EXPIRED = 2_000
ONE_PAGES_MAX = 150
"""What one operation may touch; the tables have about 12,000 pages."""
EACH_PAGES_MAX = 60
"""What cleaning may touch for each invocation that it removes: ten rows and their index entries."""

COMPLETED = "00000000-0000-0000-0000-00000000aaa9"
SUSPENDED = "00000000-0000-0000-0000-00000000000a"
INBOX = "00000000-0000-0000-0000-000000000014"
READY = "00000000-0000-0000-0000-00000000001e"
ONE = {
    "kill": f"select * from howdah_core.operate('{SUSPENDED}', 'kill')",
    "kill of an inboxed one": f"select * from howdah_core.operate('{INBOX}', 'kill')",
    "cancel": f"select * from howdah_core.operate('{SUSPENDED}', 'cancel')",
    "pause": f"select * from howdah_core.operate('{READY}', 'pause')",
    "resume": f"select * from howdah_core.operate('{SUSPENDED}', 'resume', 'latest')",
    "purge": f"select * from howdah_core.operate('{COMPLETED}', 'purge')",
    "purge_journal": f"select * from howdah_core.operate('{COMPLETED}', 'purge_journal')",
    "restart_as_new": f"select * from howdah_core.restart_as_new('{COMPLETED}', 2)",
    "an order": f"select howdah.kill('{SUSPENDED}')",
    "a signal": f"select howdah.signal('{SUSPENDED}', 'go')",
    "a send": "select howdah.send('Mailer', 'send', '1', idempotency_key => 'x')",
    "clean, with nothing to do": "select howdah_core.clean(500)",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled_dsn(
    postgres_server: postgres.Server, template_database: NoopExecutor
) -> AsyncIterator[str]:
    async with postgres.database(postgres_server, template_database.template_dbname) as dsn:
        connection = await asyncpg.connect(dsn)
        await histories.fill(connection, INVOCATIONS)
        await connection.close()
        yield dsn


@pytest.fixture
async def filled(filled_dsn: str) -> AsyncIterator[Database]:
    """A connection in a transaction that is rolled back."""
    connection = await asyncpg.connect(filled_dsn)
    await connection.execute("begin")
    yield connection
    await connection.execute("rollback")
    await connection.close()


async def _pages(db: Database, query: str) -> int:
    explained = await db.fetchval(f"explain (analyze, buffers, format json) {query}")
    plan = json.loads(explained)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def _warm(db: Database, query: str) -> None:
    """Functions are read and planned at their first call."""
    await db.execute(f"savepoint cold; {query}; rollback to cold")


@pytest.mark.parametrize("query", ONE.values(), ids=ONE.keys())
async def test_one_operation_touches_a_few_pages(filled: Database, query: str) -> None:
    await _warm(filled, query)

    assert await _pages(filled, query) < ONE_PAGES_MAX


async def test_cleaning_touches_what_it_removes(filled: Database) -> None:
    query = "select howdah_core.clean(500)"
    await _warm(filled, query)
    await filled.execute(
        "update howdah_core.outcome set expires_at = created_at where id in ("
        f" select id from howdah_core.outcome order by created_at limit {EXPIRED})"
    )

    pages = await _pages(filled, query)

    left = await filled.fetchval(
        "select count(*) from howdah_core.outcome where expires_at <= now()"
    )
    assert left == EXPIRED - 500
    assert pages < 500 * EACH_PAGES_MAX


async def test_journals_that_are_gone_are_not_looked_at_again(filled: Database) -> None:
    await filled.execute("update howdah_core.outcome set journal_expires_at = '-infinity'")
    query = "select howdah_core.clean(500)"
    await _warm(filled, query)

    assert await _pages(filled, query) < ONE_PAGES_MAX
