import functools

import pytest

from howdah.testing import EnvironmentFactory, environment
from support import postgres


@pytest.fixture
def server_url(postgres_server: postgres.Server) -> str:
    """The session's server, as a user would name one of their own."""
    return postgres_server.dsn("postgres")


@pytest.fixture
def serve(server_url: str) -> EnvironmentFactory:
    """`howdah.testing.environment`, on the session's server."""
    return functools.partial(environment, database_url=server_url)
