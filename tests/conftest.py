import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor

from support import embedded, postgres

# The programs that came with the environment, such as Node, whether or not it is activated.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

template_database = factories.postgresql_noproc(
    depends_on="postgres_server", dbname="howdah_template", load=[postgres.install_schema]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the session's server: `-m database` is what another Postgres may change."""
    for item in items:
        if "postgres_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.database)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """The session's server."""
    with postgres.running_server() as server:
        yield server


@pytest.fixture
async def dsn(
    postgres_server: postgres.Server, template_database: NoopExecutor
) -> AsyncIterator[str]:
    """The URL of a database of the test's own, migrated."""
    async with postgres.database(postgres_server, template_database.template_dbname) as url:
        yield url


@pytest.fixture
async def empty_dsn(postgres_server: postgres.Server) -> AsyncIterator[str]:
    """The URL of a database of the test's own with nothing in it."""
    async with postgres.database(postgres_server) as url:
        yield url


@pytest.fixture
async def db(dsn: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A connection to the test's database."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def new_dir() -> Iterator[Path]:
    """An empty directory that the account of an embedded Postgres can reach, as root too."""
    with embedded.directory() as path:
        yield path
