"""The same behaviour in every mode: one world for each, shared by all tests of this folder."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from pytest_postgresql.executors import NoopExecutor

from acceptance.world import MODES, World, running_world
from support import engines, postgres


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=list(MODES))
async def _shared_world(
    request: pytest.FixtureRequest,
    postgres_server: postgres.Server,
    template_database: NoopExecutor,
) -> AsyncIterator[World]:
    template = template_database.template_dbname
    async with (
        postgres.database(postgres_server, template) as dsn,
        running_world(dsn, request.param) as world,
    ):
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def world(_shared_world: World) -> AsyncIterator[World]:
    """The world of one mode; after the test, no invariant is violated."""
    yield _shared_world
    await engines.assert_healthy(_shared_world.db)


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return uuid4().hex
