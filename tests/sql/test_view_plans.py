"""Looking something up reads a few pages, however long the history is."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from pytest_postgresql.executors import NoopExecutor

from support import histories, postgres

INVOCATIONS = 100_000
BIG_TABLES = {"invocation", "live", "outcome", "inbox", "journal"}
PAGES_MAX = 2_500
"""What 50 rows with all their columns may read; the five tables above have about 20,000 pages."""

ID = "00000000-0000-0000-0000-00000000aaaa"
NEWEST = "order by created_at desc limit 50"
LOOKUPS = {
    "id": f"where id = '{ID}'",
    "id of a live one": "where id = '00000000-0000-0000-0000-00000000000a'",
    "ids": f"where id in ('{ID}', '00000000-0000-0000-0000-00000000000a')",
    "service and key": "where service = 'TicketObject' and key = 'k2'",
    "service and key, newest": f"where service = 'TicketObject' and key = 'k2' {NEWEST}",
    "service number and key": "where service_no = 2 and key = 'k2' order by id desc limit 50",
    "running": f"where status = 'running' {NEWEST}",
    "suspended": f"where status = 'suspended' {NEWEST}",
    "ready": f"where status = 'ready' {NEWEST}",
    "inbox": f"where status = 'inbox' {NEWEST}",
    "completed": f"where status = 'completed' {NEWEST}",
    "paused, of which there is none": f"where status = 'paused' {NEWEST}",
    "several statuses": f"where status in ('running', 'suspended', 'inbox') {NEWEST}",
    "not completed": f"where status <> 'completed' {NEWEST}",
    "failed": f"where outcome = 'failed' {NEWEST}",
    "newest": NEWEST,
    "newest by id": "order by id desc limit 50",
    "oldest": "order by created_at limit 50",
    "a span of time": "where created_at between now() - interval '9050 s' and now() - interval '9000 s'",
    "a page": "where created_at < now() - interval '50000 s' order by created_at desc limit 50",
    "a status in a span of time": "where status = 'suspended' and created_at > now() - interval '1000 s'",
    "handler": f"where service = 'TicketObject' and handler = 'reserve' {NEWEST}",
    "handler and status": f"where handler = 'send' and status = 'completed' {NEWEST}",
    "handler number": "where handler_no = 5 order by id desc limit 50",
    "number of a rare handler": "where handler_no = 1 order by id desc limit 50",
    "handler number without any": "where handler_no = 4 order by id desc limit 50",
    "children": f"where parent_id = '{ID}'",
}
OTHERS = [
    f"select * from howdah.journal where invocation_id = '{ID}' order by index",
    f"select * from howdah.journal where invocation_id = '{ID}' and index = 2",
    "select j.* from howdah.invocations i join howdah.journal j on j.invocation_id = i.id"
    " where i.service = 'CartObject' and i.key = 'k100' and j.type = 'run' limit 50",
    f"select * from howdah.waits where invocation_id = '{ID}'",
    f"select * from howdah.failures where invocation_id = '{ID}'",
    "select * from howdah.inbox where service = 'TicketObject' and key = 'k20' order by position",
    "select * from howdah.state where service = 'CartObject' and key = 'k1'",
    "select * from howdah.locks where service = 'CartObject' and key = 'k1'",
    "select * from howdah.workers",
    "select * from howdah.services",
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
        explained = await connection.fetchval(f"explain (analyze, buffers, format json) {query}")
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
    pages, scanned = await _read(filled_dsn, f"select * from howdah.invocations {where}")

    assert scanned == set()
    assert pages < PAGES_MAX


@pytest.mark.parametrize("query", OTHERS)
async def test_the_other_views_are_read_by_index(filled_dsn: str, query: str) -> None:
    pages, scanned = await _read(filled_dsn, query)

    assert scanned == set()
    assert pages < PAGES_MAX


async def test_counting_by_status_reads_no_facts(filled_dsn: str) -> None:
    _, scanned = await _read(
        filled_dsn, "select status, count(*) from howdah.invocations group by status"
    )

    assert scanned <= {"live", "inbox", "outcome"}


async def test_payloads_are_not_decoded_unless_they_are_asked_for(filled_dsn: str) -> None:
    connection = await asyncpg.connect(filled_dsn)
    try:
        explained = await connection.fetch(
            "explain (verbose) select id, status, target from howdah.invocations"
            f" where status = 'running' {NEWEST}"
        )
    finally:
        await connection.close()

    plan = "\n".join(row[0] for row in explained)
    assert "as_json" not in plan
    assert "wait_words" not in plan
    assert "journal" not in plan
