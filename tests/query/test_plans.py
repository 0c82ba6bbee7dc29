"""What is looked up by id, status or service reads a few pages, however long the history is."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from pytest_postgresql.executors import NoopExecutor

from howdah_api.query.translate import translate
from support import histories, postgres

INVOCATIONS = 50_000
BIG_TABLES = {"invocation", "live", "outcome", "inbox", "journal"}
WAITING = ("status = 'pending'", "status == 'inboxed'")
"""In two tables: those that wait for a key, and the held ones among all that is not completed."""
PAGES_MAX = 4_000
"""What 100 rows with all their columns may read; the tables above have about 10,000 pages."""

ID = "00000000-0000-0000-0000-00000000aaaa"
LIVE = "00000000-0000-0000-0000-00000000000a"
NEWEST = "order by inv.created_at desc, inv.id limit 100"
LOOKUPS = {
    "id": f"where inv.id = '{ID}'",
    "id of a live one": f"where id == '{LIVE}'",
    "ids": f"where inv.id in ('{ID}', '{LIVE}')",
    "ids and a status": f"where status != 'completed' and inv.id in ('{ID}', '{LIVE}')",
    "no id": "where inv.id = 'inv_1gdJBtdVEcM95mVozxaqlnMWh1WfVqYbA1'",
    "callers": f"where invoked_by_id = '{ID}'",
    "not completed": f"where status != 'completed' {NEWEST}",
    "all": NEWEST,
    "service and key": "where target_service_name = 'TicketObject' and target_service_key = 'k2' limit 100",
    "several statuses": f"where status in ('suspended', 'pending', 'running') {NEWEST}",
    **{
        status: f"where status = '{status}' {NEWEST}"
        for status in (
            "pending", "scheduled", "ready", "running", "backing-off", "suspended", "paused", "completed",
        )
    },
}  # fmt: skip
OTHERS = [
    f"select index, entry_type from sys_journal where id = '{ID}' order by index",
    f"select * from sys_journal sj where sj.id = '{ID}' order by index desc limit 100",
    f"select * from sys_journal_events where id = '{ID}'",
    f"select * from sys_invocation_status where id = '{ID}'",
    f"select * from sys_invocation_state where id = '{LIVE}'",
    "select * from sys_invocation_status where status == 'inboxed' limit 100",
    "select * from sys_inbox where service_name = 'TicketObject' and service_key = 'k20'",
    "select * from sys_keyed_service_status where service_name = 'CartObject' and service_key = 'k1'",
    "select key, value from state where service_name = 'CartObject' and service_key = 'k1'",
    f"""select inv.id, sj.index from sys_invocation inv join sys_journal sj on sj.id = inv.id
         where inv.id = '{ID}'""",
    f"""select inv.id, dp.id is not null as known from sys_invocation inv
          left join sys_deployment dp on dp.id = inv.pinned_deployment_id where inv.id = '{ID}'""",
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled_dsn(
    postgres_server: postgres.Server, template_database: NoopExecutor
) -> AsyncIterator[str]:
    async with postgres.database(postgres_server, template_database.template_dbname) as dsn:
        connection = await asyncpg.connect(dsn)
        await histories.fill(connection, INVOCATIONS)
        await connection.close()
        yield dsn


async def _read(dsn: str, query: str) -> tuple[int, set[str]]:
    """How many pages a query reads, and which of the big tables it reads from end to end."""
    connection = await asyncpg.connect(dsn)
    try:
        sql = translate(query).sql
        explained = await connection.fetchval(f"explain (analyze, buffers, format json) {sql}")
    finally:
        await connection.close()
    plan = json.loads(explained)[0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], _scanned(plan) & BIG_TABLES


def _scanned(plan: dict[str, Any]) -> set[str]:
    found: set[str] = set().union(*(_scanned(inner) for inner in plan.get("Plans", [])))
    if plan["Node Type"] == "Seq Scan" and plan["Actual Loops"]:
        found.add(plan["Relation Name"])
    return found


@pytest.mark.parametrize("where", LOOKUPS.values(), ids=LOOKUPS.keys())
async def test_invocations_are_found_by_index(filled_dsn: str, where: str) -> None:
    pages, scanned = await _read(filled_dsn, f"select * from sys_invocation inv {where}")

    assert scanned <= _may_be_scanned(where)
    assert pages < PAGES_MAX


def _may_be_scanned(query: str) -> set[str]:
    return {"live", "inbox"} if any(words in query for words in WAITING) else set()


@pytest.mark.parametrize("query", OTHERS)
async def test_the_other_tables_are_read_by_index(filled_dsn: str, query: str) -> None:
    pages, scanned = await _read(filled_dsn, query)

    assert scanned <= _may_be_scanned(query)
    assert pages < PAGES_MAX


async def test_counting_by_status_reads_no_facts(filled_dsn: str) -> None:
    query = "select status, count(1) from sys_invocation group by status"

    _, scanned = await _read(filled_dsn, query)

    assert scanned <= {"live", "inbox", "outcome"}
