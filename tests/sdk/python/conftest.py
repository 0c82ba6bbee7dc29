"""The behaviours of the acceptance tests, asked of services that the official Python SDK serves."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
import restate
from pytest_postgresql.executors import NoopExecutor

from sdk.python import services
from sdk.world import HttpWorld, running_howdah
from support import engines, postgres
from support.sdk import serving_app

MODES: dict[str, dict[str, Any]] = {
    "bidirectional": {},
    "request response": {"use_http_11": True},
    "suspending": {"environment": {"HOWDAH_INACTIVITY_TIMEOUT": "0"}},
    "lazy": {"is_lazy": True},
}
REPLAYING = ("request response", "suspending")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses the world in every setting; what is marked, where handlers begin again."""
    if "_shared_world" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("replaying")
        modes = REPLAYING if marked else tuple(MODES)
        metafunc.parametrize("_shared_world", modes, indirect=True, scope="session")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_world(
    request: pytest.FixtureRequest,
    postgres_server: postgres.Server,
    template_database: NoopExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[HttpWorld]:
    mode = MODES[request.param]
    folder: Path = tmp_path_factory.mktemp("howdah")
    for service in services.KEYED:
        service.state_preload = not mode.get("is_lazy", False)
    async with (
        postgres.database(postgres_server, template_database.template_dbname) as dsn,
        serving_app(restate.app(services.ALL)) as uri,
        running_howdah(dsn, request.param, folder, **mode.get("environment", {})) as world,
    ):
        world.registration = {"use_http_11": mode.get("use_http_11", False)}
        await world.register(uri)
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def world(_shared_world: HttpWorld) -> AsyncIterator[HttpWorld]:
    """The world of one setting; after the test, no invariant is violated."""
    yield _shared_world
    await engines.assert_healthy(_shared_world.db)


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return uuid4().hex
