"""The same behaviour in every mode: one world for each, shared by all tests of this folder."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from pytest_postgresql.executors import NoopExecutor

from acceptance.world import MODES, REPLAYING, REPLAYING_STEPS, World, running_world
from support import engines, postgres


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses the world in every mode; what is marked, where handlers begin again, or where
    one stays with its step.
    """
    if "_shared_world" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("replaying")
        modes = tuple(MODES)
        if marked is not None:
            modes = REPLAYING_STEPS if marked.kwargs else REPLAYING
        elif metafunc.definition.get_closest_marker("scoped") is not None:
            modes = tuple(mode for mode in MODES if mode not in REPLAYING_STEPS)
        metafunc.parametrize("_shared_world", modes, indirect=True, scope="session")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
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
