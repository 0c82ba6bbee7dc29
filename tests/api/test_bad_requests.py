"""Requests that no well-behaved client sends: the process answers in kind and goes on."""

import json
import re
import socket
import time
from typing import Any

import asyncpg
import httpx
import pytest

from support.servers import HowdahProcess, exchange_raw

MIB = 1024 * 1024


async def count_invocations(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        count: int = await connection.fetchval("select count(*) from howdah_core.invocation")
        return count
    finally:
        await connection.close()


def test_a_declared_body_over_the_limit_is_413(http: httpx.Client) -> None:
    response = http.post("/Echo/back", content=b"x" * (MIB + 1))

    assert response.status_code == 413
    assert response.text == "length limit exceeded"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert http.post("/Echo/back", content=b"x" * MIB).status_code == 200


def test_a_streamed_body_over_the_limit_is_413(http: httpx.Client) -> None:
    def parts() -> Any:
        for _ in range(20):
            yield b"x" * (MIB // 10)

    response = http.post("/Echo/back", content=parts())

    assert (response.status_code, response.text) == (413, "length limit exceeded")


def test_a_huge_body_is_refused_without_being_kept(server: HowdahProcess) -> None:
    head = b"POST /Echo/back HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n"

    answer = exchange_raw(server.ingress, head + b"x" * MIB, seconds=15)

    assert answer.startswith(b"HTTP/1.1 413")


def test_two_lengths_are_ambiguous(server: HowdahProcess) -> None:
    request = (
        b"POST /Echo/back HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    )

    answer = exchange_raw(server.ingress, request + b"GET /smuggled/in HTTP/1.1\r\nhost: a\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /Echo/nothing HTTP/1.1\r\n\r\n",
        b"GET /Echo/nothing HTTP/1.1\r\nhost: a b\r\n\r\n",
        b"GET /Echo/nothing HTTP/1.1\r\nhost: a\r\nx-note: \xff\r\n\r\n",
        b"GET /Echo/nothing HTTP/1.1\r\nhost: a\r\nidempotency-key: \r\n\r\n",
        b"GET /Echo/nothing HTTP/1.1\r\nhost: a\r\nx-note: b\r\n c: d\r\n\r\n",
        b"GET /Echo/nothing HTTP/1.1\nhost: a\n\n",
        b"GET /Counter/\xff/add HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /Echo/back HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET /Echo/nothing HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 300_000 + b"\r\n\r\n",
    ],
)
def test_a_malformed_request_is_400_or_431(server: HowdahProcess, request_bytes: bytes) -> None:
    answer = exchange_raw(server.ingress, request_bytes, seconds=1)

    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert b"Traceback" not in answer


def test_a_body_that_stalls_is_408(server: HowdahProcess) -> None:
    head = b"POST /Echo/back HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc"

    answer = exchange_raw(server.ingress, head)

    assert answer.startswith(b"HTTP/1.1 408")
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["message"] == "the request body did not arrive in time"


async def test_a_refused_request_stores_nothing(http: httpx.Client, module_dsn: str) -> None:
    before = await count_invocations(module_dsn)

    refused = [
        http.post("/Nobody/x"),
        http.post("/Echo/double", content=b"1", headers={"content-type": "text/plain"}),
        http.post("/Echo/back", content=b"x" * (MIB + 1)),
        http.post("/Hidden/secret"),
        http.post("/Echo/double?delay=1s", json=1),
        http.post("/Echo/double", json=1, headers={"idempotency-key": "k" * 2000}),
    ]

    assert all(400 <= response.status_code < 500 for response in refused)
    assert await count_invocations(module_dsn) == before


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", r"it ends too early \(byte 1\)"),
        (b'[1, {"a": nope}]', r"invalid character \(byte \d+\)"),
        (b"1 2", r"trailing characters \(byte \d\)"),
        (b"NaN", r"invalid character \(byte 0\)"),
        (b"\0", r"invalid character \(byte 0\)"),
        (b'["\xff"]', r"it is not UTF-8 \(byte 2\)"),
        (b'["\\ud800", 1, 2]', r".* \(byte \d+\)"),
        (b"[" * MIB, "it is nested too deeply"),
    ],
)
async def test_a_body_that_is_no_json_stores_nothing(
    http: httpx.Client, module_dsn: str, body: bytes, reason: str
) -> None:
    before = await count_invocations(module_dsn)

    refused = [
        http.post(path, content=body, headers={"content-type": "application/json; charset=utf-8"})
        for path in ("/Echo/double", "/Echo/double/send", "/restate/send/Counter/k/add")
    ]

    for response in refused:
        said = response.json()
        assert (response.status_code, said["code"], said["source"]) == (400, 400, "ingress")
        assert re.fullmatch(
            f"input validation error: the body is not valid JSON: {reason}", said["message"]
        )
        assert "x-restate-id" not in response.headers
    assert await count_invocations(module_dsn) == before


async def test_a_client_that_leaves_does_not_cancel(server: HowdahProcess, module_dsn: str) -> None:
    host, port = server.ingress.removeprefix("http://").split(":")
    before = await count_invocations(module_dsn)
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            b"POST /Echo/pause HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
            b"content-length: 3\r\n\r\n0.7"
        )
        deadline = time.monotonic() + 10
        while await count_invocations(module_dsn) == before:
            assert time.monotonic() < deadline
    connection = await asyncpg.connect(module_dsn)
    newest = "select id::text from howdah_core.invocation order by created_at desc limit 1"
    left = await connection.fetchval(newest)
    await connection.close()

    answer = httpx.get(f"{server.ingress}/restate/attach/{left}", timeout=20, trust_env=False)

    assert answer.json() == "rested"


def test_nothing_of_this_left_a_trace_in_the_log(server: HowdahProcess) -> None:
    assert httpx.get(f"{server.ingress}/Echo/nothing", trust_env=False).status_code == 200
    assert "Traceback" not in server.said
