"""Servers and environments for the pages of docs/."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from howdah.testing import EnvironmentFactory, environment
from support import postgres
from support.pages import Shell
from support.servers import Servers


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Starts servers for one test."""
    started = Servers(tmp_path)
    yield started
    started.end()


@pytest.fixture
def serve(postgres_server: postgres.Server) -> EnvironmentFactory:
    """`howdah.testing.environment`, on the session's server."""
    return functools.partial(environment, database_url=postgres_server.dsn("postgres"))


@pytest.fixture
def shell(dsn: str, servers: Servers, tmp_path: Path) -> Iterator[Shell]:
    """A shell in an empty folder, on the test's database."""
    started = Shell(tmp_path, servers, dsn)
    yield started
    started.end()
