"""Services that howdah executes itself and services of the Python SDK call each other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import restate
from pytest_postgresql.executors import NoopExecutor

from sdk.neighbours import *
from sdk.neighbours import PROGRAM
from sdk.python import far_services
from sdk.world import SETTINGS, HttpWorld, running_howdah
from support import postgres
from support.sdk import serving_app


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["bidirectional", "suspending"])
async def _shared_neighbours(
    request: pytest.FixtureRequest,
    postgres_server: postgres.Server,
    template_database: NoopExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[HttpWorld]:
    folder: Path = tmp_path_factory.mktemp("neighbours")
    environment = SETTINGS[request.param].environment
    app = restate.app([far_services.far, far_services.caller])
    async with (
        postgres.database(postgres_server, template_database.template_dbname) as dsn,
        serving_app(app) as uri,
        running_howdah(dsn, "", folder, str(PROGRAM), **environment) as world,
    ):
        await world.register(uri)
        yield world
