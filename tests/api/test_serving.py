"""Starting, stopping, and what happens between when something goes away."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from support.proxies import door_to
from support.servers import PROGRAM, Servers


def post(base: str, path: str, **facts: Any) -> httpx.Response:
    return httpx.post(f"{base}{path}", timeout=30, trust_env=False, **facts)


def test_sigterm_ends_with_exit_code_0(servers: Servers, dsn: str) -> None:
    served = servers.serve(dsn)
    with httpx.Client(base_url=served.ingress, trust_env=False) as idle:
        idle.post("/Echo/nothing")  # its connection stays open

        assert served.stop() == 0

    assert "Traceback" not in served.said


async def test_what_runs_at_sigterm_is_answered(servers: Servers, dsn: str, tmp_path: Path) -> None:
    served = servers.serve(dsn)
    flag = tmp_path / "flag"
    async with httpx.AsyncClient(base_url=served.ingress, timeout=30, trust_env=False) as client:
        call = asyncio.ensure_future(client.post("/Echo/touch", json=str(flag)))
        await started(dsn, "touch")
        served.process.send_signal(signal.SIGTERM)
        served.wait_until_said("draining")
        flag.touch()

        response = await call

    assert (response.status_code, response.json()) == (200, "touched")
    assert served.process.wait(30) == 0


async def test_who_waits_for_a_sleeper_at_sigterm_is_told_where_to_ask(
    servers: Servers, dsn: str
) -> None:
    served = servers.serve(dsn)
    async with httpx.AsyncClient(base_url=served.ingress, timeout=30, trust_env=False) as client:
        call = asyncio.ensure_future(client.post("/Echo/pause", json=8))
        await started(dsn, "pause")
        served.process.send_signal(signal.SIGTERM)

        response = await call

    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert f"/restate/attach/{response.headers['x-restate-id']}" in response.json()["message"]
    assert served.process.wait(30) == 0

    again = servers.serve(dsn)
    answer = httpx.get(
        f"{again.ingress}/restate/attach/{response.headers['x-restate-id']}",
        timeout=30,
        trust_env=False,
    )
    assert answer.json() == "rested"


async def test_a_second_signal_ends_at_once(servers: Servers, dsn: str, tmp_path: Path) -> None:
    served = servers.serve(dsn)
    post(served.ingress, "/Echo/touch/send", json=str(tmp_path / "never"))
    await started(dsn, "touch")
    served.process.send_signal(signal.SIGTERM)
    served.wait_until_said("draining")

    assert served.stop(seconds=2) != 0


async def test_what_was_accepted_before_kill_9_finishes_after(
    servers: Servers, dsn: str, tmp_path: Path
) -> None:
    first = servers.serve(dsn, HOWDAH_LEASE="2s")
    flag = tmp_path / "flag"
    sent = post(first.ingress, "/Echo/touch/send", json=str(flag)).json()["invocationId"]
    await started(dsn, "touch")
    first.stop(signal.SIGKILL)
    flag.touch()

    second = servers.serve(dsn, HOWDAH_LEASE="2s")
    answer = httpx.get(f"{second.ingress}/restate/attach/{sent}", timeout=40, trust_env=False)

    assert answer.json() == "touched"


def test_several_processes_share_the_ports(servers: Servers, dsn: str) -> None:
    served = servers.serve(dsn, "--processes", "2", str(PROGRAM), HOWDAH_LEASE="2s")
    served.wait_until_said("is ready")
    children = children_of(served.process.pid)
    assert len(children) == 2
    assert post(served.ingress, "/Echo/double", json=2).json() == 4

    os.kill(children[0], signal.SIGKILL)
    served.wait_until_said("started again")

    deadline = time.monotonic() + 20
    while len(children_of(served.process.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert post(served.ingress, "/Echo/double", json=3).json() == 6
    assert served.stop() == 0
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_children_end_when_their_parent_is_killed(servers: Servers, dsn: str) -> None:
    served = servers.serve(dsn, "--processes", "2", str(PROGRAM))
    assert post(served.ingress, "/Echo/double", json=2).json() == 4
    children = children_of(served.process.pid)

    served.stop(signal.SIGKILL)

    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_roles_can_be_split_over_processes(servers: Servers, dsn: str) -> None:
    servers.serve(dsn, "--roles", "worker", str(PROGRAM)).wait_until_said("is ready")
    ingress = servers.run(
        "serve",
        "--roles",
        "ingress",
        "--ingress",
        "127.0.0.1:0",
        HOWDAH_DATABASE_URL=dsn,
    )
    ingress.wait_until_said("is ready")
    line = next(line for line in ingress.said.splitlines() if "ingress  " in line)
    base = line.split()[1]

    assert post(base, "/Echo/double", json=4).json() == 8
    assert post(base, f"/Counter/{uuid4().hex}/add", json=4).json() == 4


def test_a_database_that_is_away_is_503_until_it_is_back(servers: Servers, dsn: str) -> None:
    with door_to(dsn) as (door, url):
        served = servers.serve(url)
        assert post(served.ingress, "/Echo/double", json=1).json() == 2

        door.close()
        deadline = time.monotonic() + 20
        while (away := post(served.ingress, "/Echo/double", json=1)).status_code == 200:
            assert time.monotonic() < deadline
        assert away.status_code == 503
        assert away.headers["retry-after"] == "1"
        assert away.json()["source"] == "ingress"

        door.open()
        deadline = time.monotonic() + 20
        while post(served.ingress, "/Echo/double", json=1).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert served.process.poll() is None
        assert "Traceback" not in served.said
        served.end()


def test_h2c_is_served_on_the_same_port(servers: Servers, dsn: str) -> None:
    served = servers.serve(dsn)

    answer = speak_h2(served.ingress, "/Echo/double", b"21")

    assert answer == ("200", b"42")


def speak_h2(base: str, path: str, body: bytes) -> tuple[str, bytes]:
    import h2.config
    import h2.connection
    import h2.events

    host, port = base.removeprefix("http://").split(":")
    status, received, is_ended = "", b"", False
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        client.initiate_connection()
        client.send_headers(
            1,
            [
                (":method", "POST"),
                (":path", path),
                (":authority", host),
                (":scheme", "http"),
                ("content-type", "application/json"),
            ],
        )
        client.send_data(1, body, end_stream=True)
        connection.sendall(client.data_to_send())
        while not is_ended:
            for event in client.receive_data(connection.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(map(_text, event.headers or []))[":status"]
                elif isinstance(event, h2.events.DataReceived):
                    received += event.data or b""
                elif isinstance(event, h2.events.StreamEnded):
                    is_ended = True
            connection.sendall(client.data_to_send())
    return status, received


def _text(header: tuple[str | bytes, str | bytes]) -> tuple[str, str]:
    name, value = (part if isinstance(part, str) else part.decode() for part in header)
    return name, value


def children_of(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in listed.stdout.split()]


async def started(dsn: str, handler: str) -> None:
    """Wait until an invocation of the handler is running or suspended."""
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(20):
            while not await connection.fetchval(
                "select exists (select from howdah.invocations where handler = $1"
                " and status in ('running', 'suspended'))",
                handler,
            ):
                await asyncio.sleep(0.02)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["nowhere_to_be_found"], {}, "There is no module"),
        (["nowhere.py"], {}, "There is no file"),
        ([str(PROGRAM), "--ingress", "nonsense"], {}, "is not an address"),
        ([str(PROGRAM), "--ingress", "0.0.0.0:0"], {}, "--insecure"),
        ([str(PROGRAM), "--roles", "nobody"], {}, "is not a list of roles"),
        ([str(PROGRAM)], {"HOWDAH_DATABASE_ULR": "x"}, "Did you mean HOWDAH_DATABASE_URL"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_exit_code_2(
    servers: Servers,
    postgres_server: object,
    arguments: list[str],
    environment: dict[str, str],
    message: str,
) -> None:
    refused = servers.run("serve", *arguments, HOWDAH_DATABASE_URL="postgresql://x", **environment)

    assert refused.process.wait(30) == 2
    assert message in refused.said
    assert refused.said.count("\n") == 1


def test_a_port_in_use_is_said(servers: Servers, dsn: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = servers.serve(dsn, HOWDAH_INGRESS=address)

        assert refused.process.wait(30) == 2
    assert f"--ingress {address}: the port is in use" in refused.said


def test_a_database_without_schema_is_said(servers: Servers, empty_dsn: str) -> None:
    refused = servers.serve(empty_dsn)

    assert refused.process.wait(30) == 2
    assert "howdah migrate" in refused.said


def test_migrate_brings_the_schema_before_serving(servers: Servers, empty_dsn: str) -> None:
    served = servers.serve(empty_dsn, "--migrate", str(PROGRAM))

    assert post(served.ingress, "/Echo/double", json=2).json() == 4


def test_a_database_that_does_not_exist_is_said(servers: Servers, dsn: str) -> None:
    refused = servers.serve(dsn.replace("/t_", "/nothing_"))

    assert refused.process.wait(30) == 2
    assert "refuses the connection" in refused.said


def test_dev_serves_anew_when_a_file_changes(servers: Servers, dsn: str, tmp_path: Path) -> None:
    program = tmp_path / "changing.py"
    text = (
        "from howdah import Context, Service\n"
        "greeter = Service('Greeter')\n"
        "@greeter.handler()\n"
        "async def greet(ctx: Context) -> str:\n"
        "    return 'first'\n"
    )
    program.write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    served = servers.run(
        "dev",
        str(program),
        "--ingress",
        address,
        "--admin",
        "127.0.0.1:0",
        HOWDAH_DATABASE_URL=dsn,
        HOWDAH_DRAIN_TIMEOUT="1s",
    )
    served.wait_until_said("is ready")
    assert post(f"http://{address}", "/Greeter/greet").json() == "first"

    program.write_text(text.replace("first", "second"))
    served.wait_until_said("reloading")

    deadline = time.monotonic() + 30
    while True:
        assert time.monotonic() < deadline
        try:
            if post(f"http://{address}", "/Greeter/greet").json() == "second":
                break
        except httpx.TransportError:
            time.sleep(0.05)
    assert served.stop() == 0


def test_whether_version_7_of_the_service_protocol_is_on_is_told(
    servers: Servers, dsn: str
) -> None:
    served = servers.serve(dsn, HOWDAH_REMOTE_PROTOCOL_MAX="7")

    version = httpx.get(f"{served.admin}/version", trust_env=False).json()

    assert version["features"]["protocol_v7"] is True
