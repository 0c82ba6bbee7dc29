"""`restate.app([...])`: what `howdah serve` takes, and an ASGI app that serves by itself."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

import howdah.restate as restate
from howdah.errors import UsageError
from howdah_api.modules import load_services
from support.servers import Servers

PROGRAM = """
import howdah.restate as restate

hidden = restate.Service("Hidden")
greeter = restate.Service("Greeter")
counter = restate.VirtualObject("counter")


@hidden.handler()
async def hide(ctx: restate.Context) -> None: ...


@greeter.handler()
async def greet(ctx: restate.Context, name: str) -> str:
    count = await ctx.object_call(increment, key=name, arg=1)
    return f"Hello {name}, for the {count}. time"


@counter.handler()
async def increment(ctx: restate.ObjectContext, by: int) -> int:
    count = (await ctx.get("count", type_hint=int) or 0) + by
    ctx.set("count", count)
    return count


app = restate.app([greeter, counter])
"""
READY_SECONDS = 40


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / f"shop_{tmp_path.name}.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    started = Servers(tmp_path)
    yield started
    started.end()


@pytest.fixture
def settings(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options for an engine in this process, on the test's database."""
    monkeypatch.setenv("HOWDAH_DATABASE_URL", dsn)
    monkeypatch.setenv("HOWDAH_ALLOW_UNSAFE_POSTGRES", "yes")


def _a_greeter(name: str = "Greeter") -> restate.Service:
    greeter = restate.Service(name)

    @greeter.handler()
    async def greet(ctx: restate.Context, name: str) -> str:
        return f"Hello {name}"

    return greeter


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    """What an ASGI server does around serving; yields the app's answer to its start."""
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
    serving = asyncio.create_task(app(scope, to_app.get, from_app.put))
    to_app.put_nowait({"type": "lifespan.startup"})
    started = await asyncio.wait_for(from_app.get(), READY_SECONDS)
    yield started
    if started["type"] == "lifespan.startup.complete":
        to_app.put_nowait({"type": "lifespan.shutdown"})
        stopped = await asyncio.wait_for(from_app.get(), READY_SECONDS)
        assert stopped == {"type": "lifespan.shutdown.complete"}
    await serving


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")


def test_a_module_with_an_app_serves_what_the_app_holds(program: Path) -> None:
    for target in (str(program), f"{program}:app"):
        assert [service.name for service in load_services([target])] == ["Greeter", "counter"]
    assert [service.name for service in load_services([f"{program}:hidden"])] == ["Hidden"]


def test_an_app_is_served_by_the_command_line(dsn: str, program: Path, servers: Servers) -> None:
    server = servers.serve(dsn, f"{program}:app")
    answer = httpx.post(f"{server.ingress}/Greeter/greet", json="Ann", trust_env=False)

    assert answer.json() == "Hello Ann, for the 1. time"
    assert server.stop() == 0


@pytest.mark.usefixtures("settings")
async def test_an_app_serves_by_itself(db: "asyncpg.Connection[Any]") -> None:
    app = restate.app([_a_greeter()])
    for _ in range(2):  # what was stopped can be started again
        async with lifespan(app) as started, client_of(app) as client:
            assert started == {"type": "lifespan.startup.complete"}
            answer = await client.post("/Greeter/greet", json="Ann")
            assert (answer.status_code, answer.json()) == (200, "Hello Ann")
            assert (await client.get("/restate/health")).json() == {"services": ["Greeter"]}

    assert await db.fetchval("select count(*) from howdah.invocations where outcome = 'succeeded'")
    assert await db.fetch("select * from howdah.check()") == []


@pytest.mark.usefixtures("settings")
async def test_an_app_without_its_lifespan_says_so() -> None:
    app = restate.app([_a_greeter()])
    async with client_of(app) as client:
        answer = await client.post("/Greeter/greet", json="Ann")

    assert answer.status_code == 503
    assert "lifespan" in answer.json()["message"]


async def test_an_app_that_cannot_start_says_why(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOWDAH_DATABASE_URL", empty_dsn)
    monkeypatch.setenv("HOWDAH_ALLOW_UNSAFE_POSTGRES", "yes")
    for app, reason in (
        (restate.app([_a_greeter()]), "howdah migrate"),
        (restate.app([_a_greeter(), _a_greeter()]), "already has a service"),
        (restate.app([_a_greeter()], identity_keys=["publickeyv1_x"]), "identity_keys"),
    ):
        async with lifespan(app) as started:
            assert started["type"] == "lifespan.startup.failed"
            assert reason in started["message"]


def test_a_codec_is_refused() -> None:
    class Rot13(restate.JournalValueCodec):
        def encode(self, buf: bytes) -> bytes:
            return buf

        async def decode(self, buf: bytes) -> bytes:
            return buf

    with pytest.raises(UsageError, match="journal_value_codec is not supported"):
        restate.app([_a_greeter()], journal_value_codec=Rot13())


def test_an_asgi_server_runs_an_app(dsn: str, program: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    output = tmp_path / "hypercorn"
    with output.open("wb") as sink:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "hypercorn",
                "--bind",
                f"127.0.0.1:{port}",
                f"{program.stem}:app",
            ],
            cwd=program.parent,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("HOWDAH_")},
                "HOWDAH_DATABASE_URL": dsn,
                "HOWDAH_ALLOW_UNSAFE_POSTGRES": "yes",
            },
        )
    try:
        url = f"http://127.0.0.1:{port}"
        transport = httpx.HTTPTransport(retries=10)  # until it listens
        with httpx.Client(base_url=url, transport=transport, timeout=READY_SECONDS) as client:
            assert client.post("/Greeter/greet", json="Ann").json() == "Hello Ann, for the 1. time"
            query = {"delay": "0s"}
            sent = client.post("/Greeter/greet/send", json="Bob", params=query).json()
            attach = f"/restate/invocation/{sent['invocationId']}/attach"
            assert client.get(attach).json() == "Hello Bob, for the 1. time"
        server.send_signal(signal.SIGTERM)
        assert server.wait(READY_SECONDS) == 0, output.read_text()
    finally:
        server.kill()
        server.wait()
