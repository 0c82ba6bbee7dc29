"""Services that howdah executes itself and services of the TypeScript SDK call each other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pytest_postgresql.executors import NoopExecutor

from sdk.neighbours import *
from sdk.neighbours import PROGRAM
from sdk.typescript import endpoint
from sdk.world import SETTINGS, HttpWorld, running_howdah
from support import postgres


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["bidirectional", "request response", "suspending"],
)
async def _shared_neighbours(
    request: pytest.FixtureRequest,
    pytestconfig: pytest.Config,
    postgres_server: postgres.Server,
    template_database: NoopExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[HttpWorld]:
    folder: Path = tmp_path_factory.mktemp("neighbours")
    setting = SETTINGS[request.param]
    installed = pytestconfig.cache.mkdir("typescript")
    await endpoint.install(installed)
    async with (
        postgres.database(postgres_server, template_database.template_dbname) as dsn,
        endpoint.running(installed, folder / "node") as ports,
        running_howdah(dsn, "", folder, str(PROGRAM), **setting.environment) as world,
    ):
        port = ports.answering if setting.use_http_11 else ports.streaming
        await world.register(f"http://127.0.0.1:{port}", use_http_11=setting.use_http_11)
        yield world
