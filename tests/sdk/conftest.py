"""The behaviours of the acceptance tests, asked of services that official SDKs serve elsewhere.

The folder of each SDK says how its services are served: the fixture `_shared_world`.
"""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from sdk.world import REPLAYING, SCOPED, SETTINGS, HttpWorld
from support import engines

pytest.register_assert_rewrite("sdk.neighbours", "sdk.versions")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses the world in every setting; what is marked, where handlers begin again, or
    may call in a scope.
    """
    if "_shared_world" in metafunc.fixturenames:
        settings = tuple(SETTINGS)
        if metafunc.definition.get_closest_marker("replaying"):
            settings = REPLAYING
        elif metafunc.definition.get_closest_marker("scoped"):
            settings = SCOPED
        metafunc.parametrize("_shared_world", settings, indirect=True, scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def world(_shared_world: HttpWorld) -> AsyncIterator[HttpWorld]:
    """The world of one setting; after the test, no invariant is violated."""
    yield _shared_world
    await engines.assert_healthy(_shared_world.db)


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return uuid4().hex
