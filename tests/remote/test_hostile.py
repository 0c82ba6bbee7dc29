"""An endpoint that lies, hangs, trickles, resets and floods harms its own invocations only."""

from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest
import pytest_asyncio
from pytest_postgresql.executors import NoopExecutor

from remote.hostile import ATTEMPTS, FLOODS, LIES, WAYS, Hostile
from sdk.world import HttpWorld, running_howdah
from support import postgres
from support.endpoints import serving
from support.engines import assert_healthy
from support.sdk_processes import SdkEndpoint

pytestmark = pytest.mark.asyncio(loop_scope="module")

CODES = {name: code for name, (code, _) in [*LIES.items(), *WAYS.items()]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    postgres_server: postgres.Server,
    template_database: NoopExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[HttpWorld]:
    """A howdah, the hostile endpoint, and one that behaves."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    endpoint = SdkEndpoint(folder)
    try:
        async with (
            postgres.database(postgres_server, template_database.template_dbname) as dsn,
            serving(Hostile) as server,
            running_howdah(dsn, "hostile", folder) as world,
        ):
            await world.register(endpoint.uri)
            await world.register(server.uri)
            yield world
    finally:
        endpoint.stop()


@pytest.mark.parametrize("name", CODES)
async def test_what_an_endpoint_does_wrong_is_a_failure_of_its_attempt(
    world: HttpWorld, name: str
) -> None:
    id_ = await world.send(f"Hostile/{name}")

    await world.until_status(id_, "paused")

    failures = await world.db.fetch(
        "select error_code from howdah.failures where invocation_id = $1 order by failed_at", id_
    )
    codes = [failure["error_code"] for failure in failures]
    assert len(codes) == ATTEMPTS
    # What it did not take back is in the journal: to do it again is a mistake of its own.
    assert codes in ([CODES[name]] * ATTEMPTS, [CODES[name], "RT0012"])
    assert await world.call("Greeter/greet", "Ann") == "Hello Ann!"
    await assert_healthy(world.db)


async def test_others_stay_fast_while_it_floods_and_hangs(world: HttpWorld) -> None:
    names = [*FLOODS, "hangs", "trickles"]
    sent = [await world.send(f"Hostile/{name}") for name in names for _ in range(3)]
    took: list[float] = []

    began = monotonic()
    while monotonic() - began < 5:
        before = monotonic()
        assert await world.call("Greeter/greet", "Ann") == "Hello Ann!"
        took.append(monotonic() - before)
    for id_ in sent:
        await world.kill(id_)

    assert max(took) < 2, took
    assert sorted(took)[len(took) // 2] < 0.3, took
    await assert_healthy(world.db)
