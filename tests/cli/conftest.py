"""A database with a server for the tests of a module, and the command line on it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_postgresql.executors import NoopExecutor

from support import postgres
from support.commands import Cli
from support.servers import HowdahProcess, Servers

PROGRAM = Path(__file__).with_name("program.py")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Starts servers for one test."""
    started = Servers(tmp_path)
    yield started
    started.end()


@pytest.fixture(scope="module")
def module_dsn(postgres_server: postgres.Server, template_database: NoopExecutor) -> Iterator[str]:
    """A migrated database for all tests of a module."""
    with asyncio.Runner() as runner:
        database = postgres.database(postgres_server, template_database.template_dbname)
        yield runner.run(_entered(database))
        runner.run(_left(database))


async def _entered(database: Any) -> str:
    url: str = await database.__aenter__()
    return url


async def _left(database: Any) -> None:
    await database.__aexit__(None, None, None)


@pytest.fixture(scope="module")
def server(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HowdahProcess]:
    """One server for all tests of a module."""
    started = Servers(tmp_path_factory.mktemp("server"))
    served = started.serve(
        module_dsn, str(PROGRAM), "--deployment", "v1", HOWDAH_INACTIVITY_TIMEOUT="50ms"
    )
    served.wait_until_said("Try next")
    yield served
    started.end()


@pytest.fixture
def cli(server: HowdahProcess, module_dsn: str) -> Cli:
    """The command line on the module's database, which has a server."""
    return Cli(module_dsn)


@pytest.fixture
def cli_alone(dsn: str) -> Cli:
    """The command line on a database of the test's own, without a server."""
    return Cli(dsn)
