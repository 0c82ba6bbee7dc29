"""A backend that goes on when nobody waits for it any more is ended by another connection."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import asyncpg
import httpx
import pytest

from howdah.store import asking
from howdah.store.asking import QueryFailed, asked
from support.servers import Servers

JSON = {"accept": "application/json"}
SECONDS = 20.0
STUBBORN = "select public.stubborn()"
# Neither its own time limit nor a cancellation ends it: it goes on after both.
FUNCTION = """
create function public.stubborn() returns int language plpgsql as $$
begin
  loop
    begin
      perform pg_catalog.pg_sleep(100);
    exception when query_canceled then
      null;
    end;
  end loop;
end $$
"""
RUNNING = """
select pid from pg_stat_activity
 where datname = current_database() and application_name in ('howdah query', 'howdah watchdog')
"""


@pytest.fixture(autouse=True)
async def stubborn(db: "asyncpg.Connection[Any]", monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that does not listen, on a server that does not look whether its client is there."""
    await db.execute(FUNCTION)
    for name, value in {
        "STATEMENT_SECONDS": 1, "REACT_SECONDS": 0.5, "CLOSE_SECONDS": 0.5, "_CONNECTION_CHECK": "0",
    }.items():  # fmt: skip
        monkeypatch.setattr(asking, name, value)


@pytest.fixture
async def clean(db: "asyncpg.Connection[Any]") -> AsyncIterator[None]:
    """After the test, no backend of a query is there."""
    yield
    began = monotonic()
    while await db.fetch(RUNNING):
        assert monotonic() - began < SECONDS, "it runs for ever"


async def ask(dsn: str) -> None:
    async with asked(dsn, STUBBORN) as answer:
        async for _ in answer.portions():
            pass


@pytest.mark.usefixtures("clean")
async def test_a_backend_that_ignores_its_time_is_ended(dsn: str) -> None:
    began = monotonic()

    with pytest.raises(QueryFailed, match="more than 1 s"):
        await ask(dsn)

    assert monotonic() - began < SECONDS


@pytest.mark.usefixtures("clean")
async def test_a_backend_that_ignores_that_its_client_left_is_ended(
    dsn: str, db: "asyncpg.Connection[Any]"
) -> None:
    asking_task = asyncio.create_task(ask(dsn))
    while not await db.fetch(
        "select from pg_stat_activity where wait_event = 'PgSleep'"
        " and datname = current_database() and application_name = 'howdah query'"
    ):
        assert not asking_task.done()
    asking_task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking_task


def test_queries_can_be_switched_off(dsn: str, servers: Servers) -> None:
    server = servers.serve(dsn, HOWDAH_QUERY="no")

    with httpx.Client(base_url=server.admin, timeout=60, trust_env=False) as client:
        answer = client.post("/query", json={"query": "select 1"}, headers=JSON)
        health = client.get("/health")

    assert (answer.status_code, health.status_code) == (403, 200)
    assert "HOWDAH_QUERY" in answer.json()["message"]
