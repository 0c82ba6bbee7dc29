"""A server for the tests of a module, and both clients behind one set of awaited verbs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_postgresql.executors import NoopExecutor

from howdah.client import Client, SyncClient
from support import postgres
from support.servers import HowdahProcess, Servers

PROGRAM = Path(__file__).parent / "program.py"


class Awaited:
    """A `SyncClient` whose verbs are awaited: each runs in a thread."""

    def __init__(self, client: SyncClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        verb = getattr(self._client, name)

        async def awaited(*arguments: Any, **options: Any) -> Any:
            return await asyncio.to_thread(verb, *arguments, **options)

        return awaited


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Starts servers for one test."""
    started = Servers(tmp_path)
    yield started
    started.end()


@pytest.fixture(scope="module")
def module_dsn(postgres_server: postgres.Server, template_database: NoopExecutor) -> Iterator[str]:
    """A migrated database for all tests of a module."""
    with asyncio.Runner() as runner:
        database = postgres.database(postgres_server, template_database.template_dbname)
        yield runner.run(_entered(database))
        runner.run(_left(database))


async def _entered(database: Any) -> str:
    url: str = await database.__aenter__()
    return url


async def _left(database: Any) -> None:
    await database.__aexit__(None, None, None)


@pytest.fixture(scope="module")
def server(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HowdahProcess]:
    """One server for all tests of a module; its bodies may have 1 MiB."""
    started = Servers(tmp_path_factory.mktemp("server"))
    served = started.serve(module_dsn, str(PROGRAM), HOWDAH_BODY_BYTES_MAX="1MiB")
    served.wait_until_said("Try next")
    yield served
    started.end()


@pytest.fixture(params=["async", "sync"])
async def make_client(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Any]]:
    """Makes clients of either kind, which are used alike, and closes them at the end."""
    made: list[Any] = []

    def make(*arguments: Any, **options: Any) -> Any:
        if request.param == "async":
            made.append(Client(*arguments, **options))
        else:
            made.append(Awaited(SyncClient(*arguments, **options)))
        return made[-1]

    yield make
    for client in made:
        await client.close()


@pytest.fixture
def client(server: HowdahProcess, make_client: Callable[..., Any]) -> Any:
    """A client of the module's server."""
    return make_client(server.ingress, headers={"x-shop": "west"})
