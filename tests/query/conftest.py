"""The server of a module, and a client of its admin port that queries."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from pytest_postgresql.executors import NoopExecutor

from support import postgres
from support.servers import HowdahProcess, Servers

JSON = {"accept": "application/json"}


class Asks:
    """A client that queries."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def post(self, query: str, **headers: str) -> httpx.Response:
        return self.client.post("/query", json={"query": query}, headers=headers)

    def rows(self, query: str) -> list[dict[str, Any]]:
        answer = self.post(query, **JSON)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["rows"]
        return rows

    def refusal(self, query: str) -> tuple[int, str]:
        answer = self.post(query, **JSON)
        assert answer.status_code != 200, answer.text
        message: str = answer.json()["message"]
        assert message.startswith("Datafusion error: ")
        return answer.status_code, message.removeprefix("Datafusion error: ")


@pytest.fixture(scope="module")
def module_dsn(postgres_server: postgres.Server, template_database: NoopExecutor) -> Iterator[str]:
    """A migrated database for all tests of a module."""
    with asyncio.Runner() as runner:
        database = postgres.database(postgres_server, template_database.template_dbname)
        yield runner.run(database.__aenter__())
        runner.run(database.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def server(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HowdahProcess]:
    """One server for all tests of a module."""
    started = Servers(tmp_path_factory.mktemp("server"))
    served = started.serve(module_dsn)
    served.wait_until_said("Try next")
    yield served
    started.end()


@pytest.fixture
def ask(server: HowdahProcess) -> Iterator[Asks]:
    """Queries over the module's admin port."""
    with httpx.Client(base_url=server.admin, timeout=60, trust_env=False) as client:
        yield Asks(client)


@pytest.fixture
async def db_of(module_dsn: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A connection to the module's database."""
    connection = await asyncpg.connect(module_dsn)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Starts servers for one test."""
    started = Servers(tmp_path)
    yield started
    started.end()


@pytest.fixture
def http(server: HowdahProcess) -> Iterator[httpx.Client]:
    """A client of the module's ingress."""
    with httpx.Client(base_url=server.ingress, timeout=20, trust_env=False) as client:
        yield client
