"""A server for the tests of a module, and more for those that end theirs."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_postgresql.executors import NoopExecutor

from support import postgres
from support.servers import HowdahProcess, Servers


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
        url = runner.run(_entered(database))
        yield url
        runner.run(_left(database))


async def _entered(database: Any) -> str:
    url: str = await database.__aenter__()
    return url


async def _left(database: Any) -> None:
    await database.__aexit__(None, None, None)


@pytest.fixture(scope="module")
def server(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HowdahProcess]:
    """One server for all tests of a module; its bodies may have 1 MiB."""
    started = Servers(tmp_path_factory.mktemp("server"))
    served = started.serve(module_dsn, HOWDAH_BODY_BYTES_MAX="1MiB")
    served.wait_until_said("Try next")
    yield served
    started.end()


@pytest.fixture
def http(server: HowdahProcess) -> Iterator[httpx.Client]:
    """A client of the module's ingress."""
    with httpx.Client(base_url=server.ingress, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
def admin(server: HowdahProcess) -> Iterator[httpx.Client]:
    """A client of the module's admin port."""
    with httpx.Client(base_url=server.admin, timeout=40, trust_env=False) as client:
        yield client
