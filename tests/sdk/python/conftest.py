"""The services as the official Python SDK serves them, in this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import restate
from pytest_postgresql.executors import NoopExecutor

from sdk.python import services
from sdk.world import SETTINGS, HttpWorld, running_howdah
from support import postgres
from support.sdk import serving_app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_world(
    request: pytest.FixtureRequest,
    postgres_server: postgres.Server,
    template_database: NoopExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[HttpWorld]:
    setting = SETTINGS[request.param]
    folder: Path = tmp_path_factory.mktemp("howdah")
    for service in services.KEYED:
        service.state_preload = not setting.is_lazy
    async with (
        postgres.database(postgres_server, template_database.template_dbname) as dsn,
        serving_app(restate.app(services.ALL)) as uri,
        running_howdah(dsn, request.param, folder, **setting.environment) as world,
    ):
        world.registration = {"use_http_11": setting.use_http_11}
        await world.register(uri)
        yield world
