"""A howdah with services of its own, and the official command line beside it."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pytest_postgresql.executors import NoopExecutor

from cli_restate import tool
from cli_restate.tool import Restate
from howdah.ids import restate_id
from support import postgres
from support.sdk_processes import SdkEndpoint
from support.servers import HowdahProcess, Servers

PROGRAM = Path(__file__).with_name("program.py")
ACCOUNTS = Path(__file__).parents[2] / "examples" / "remote_python" / "service.py"
Send = Callable[..., str]


@pytest.fixture(scope="session")
def session_dsn(postgres_server: postgres.Server, template_database: NoopExecutor) -> Iterator[str]:
    """A migrated database for all of these tests."""
    with asyncio.Runner() as runner:
        database = postgres.database(postgres_server, template_database.template_dbname)
        yield runner.run(database.__aenter__())
        runner.run(database.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def server(session_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HowdahProcess]:
    """`howdah serve program.py`; what waits suspends soon."""
    started = Servers(tmp_path_factory.mktemp("server"))
    served = started.serve(
        session_dsn,
        str(PROGRAM),
        "--deployment",
        "v2",
        HOWDAH_INACTIVITY_TIMEOUT="100ms",
        HOWDAH_ENDPOINT_ALLOW="127.0.0.0/8",
        HOWDAH_DRAIN_TIMEOUT="1s",
    )
    served.wait_until_said("Try next")
    yield served
    started.end()


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkEndpoint]:
    """`examples/remote_python/service.py`, served by Hypercorn."""
    serving = SdkEndpoint(tmp_path_factory.mktemp("endpoint"), ACCOUNTS)
    yield serving
    serving.stop()


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> Path:
    """The folder with `restate`."""
    return tool.install(pytestconfig.cache.mkdir("restate-cli"))


@pytest.fixture
def restate(server: HowdahProcess, programs: Path, tmp_path: Path) -> Restate:
    """`restate`, in an empty home."""
    home = tmp_path / "home"
    home.mkdir()
    return Restate(programs, home, admin=server.admin, ingress=server.ingress)


@pytest.fixture
def http(server: HowdahProcess) -> Iterator[httpx.Client]:
    """A client of the ingress."""
    with httpx.Client(base_url=server.ingress, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
def send(http: httpx.Client) -> Send:
    """Sends to a handler; returns the id as `restate` writes it."""

    def do(target: str, argument: Any = None) -> str:
        found = http.post(f"/{target}/send", json=argument).json()["invocationId"]
        return restate_id(UUID(found))

    return do


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return uuid4().hex[:12]
