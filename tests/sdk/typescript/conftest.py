"""The services as the official TypeScript SDK serves them, in a process of Node."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from pytest_postgresql.executors import NoopExecutor

from sdk.typescript import endpoint
from sdk.world import SETTINGS, HttpWorld, running_howdah
from support import postgres


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_world(
    request: pytest.FixtureRequest,
    pytestconfig: pytest.Config,
    postgres_server: postgres.Server,
    template_database: NoopExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[HttpWorld]:
    setting = SETTINGS[request.param]
    folder: Path = tmp_path_factory.mktemp("howdah")
    installed = pytestconfig.cache.mkdir("typescript")
    await endpoint.install(installed)
    async with (
        postgres.database(postgres_server, template_database.template_dbname) as dsn,
        endpoint.running(installed, folder / "node", is_lazy=setting.is_lazy) as ports,
        running_howdah(dsn, request.param, folder, **setting.environment) as world,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.effects}", trust_env=False) as effects,
    ):
        world.effects = effects
        port = ports.answering if setting.use_http_11 else ports.streaming
        await world.register(f"http://127.0.0.1:{port}", use_http_11=setting.use_http_11)
        yield world
