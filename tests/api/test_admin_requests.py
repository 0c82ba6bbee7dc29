"""What clients of the admin port may do wrong: a clear answer each time, and the port goes on."""

import socket
import time
from typing import Any
from uuid import UUID

import httpx
import pytest

from howdah.ids import awakeable_id
from support.proxies import door_to
from support.servers import HowdahProcess, Servers, exchange_raw

UNKNOWN = "0192f0c1-2b3c-7d4e-8f50-617283940a1b"
BATCH = "/internal/invocations_batch_operations/cancel"
STATE = "/services/Counter/state"
JSON = "application/json"
MIB = 1024 * 1024


def message_of(answer: httpx.Response) -> str:
    body = answer.json()
    assert body.keys() == {"message", "restate_code"}
    assert body["restate_code"] is None
    message: str = body["message"]
    return message


@pytest.mark.parametrize("path", [BATCH, STATE])
@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (400, JSON, b""),
        (400, JSON, b"{"),
        (400, JSON, b'{"invocation_ids": ["\xff"], "object_key": "\xff"}'),
        (400, JSON, b'{"invocation_ids": ["\\ud800"], "object_key": "\\ud800"}'),
        (400, JSON, b'{"x": ' + b"[" * 50_000),
        (422, JSON, b"{}"),
        (422, JSON, b"[]"),
        (422, JSON, b'{"invocation_ids": "x", "object_key": 1}'),
        (415, "text/plain", b"{}"),
        (415, None, b"{}"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    admin: httpx.Client, path: str, status: int, content_type: str | None, body: bytes
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}

    answer = admin.post(path, content=body, headers=headers)

    assert answer.status_code == status
    assert message_of(answer)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/health", {"GET", "HEAD"}),
        ("PUT", "/services", {"GET", "HEAD"}),
        ("GET", STATE, {"POST"}),
        ("GET", BATCH, {"POST"}),
        ("POST", "/invocations/x/cancel", {"PATCH"}),
        ("GET", "/invocations/x", {"DELETE"}),
        ("OPTIONS", STATE, {"POST"}),
    ],
)
def test_another_method_is_405(
    admin: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = admin.request(method, path)

    assert answer.status_code == 405
    assert message_of(answer) == f"{path} does not take {method}"
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("GET", "/services/"),
        ("PATCH", "/invocations/x/forget"),
        ("POST", "/internal/invocations_batch_operations/forget"),
        ("PATCH", "/invocations//cancel"),
        ("GET", "/services/Echo/handlers/double/more"),
    ],
)
def test_another_path_is_404(admin: httpx.Client, method: str, path: str) -> None:
    answer = admin.request(method, path, json={})

    assert answer.status_code == 404
    assert message_of(answer) == f"There is nothing at {path}"


@pytest.mark.parametrize("path", [STATE, BATCH, "/health", "/nothing"])
def test_a_body_over_the_limit_is_refused_and_taken_off(admin: httpx.Client, path: str) -> None:
    answer = admin.post(path, content=b" " * 3 * MIB, headers={"content-type": JSON})

    assert answer.status_code in (413, 405, 404)
    assert message_of(answer)
    assert admin.get("/health").status_code == 200


def test_a_body_that_stalls_is_408(server: HowdahProcess) -> None:
    head = f"POST {BATCH} HTTP/1.1\r\nhost: a\r\ncontent-type: {JSON}\r\ncontent-length: 9\r\n\r\n"

    answer = exchange_raw(server.admin, head.encode() + b"{")

    assert answer.startswith(b"HTTP/1.1 408")


def test_nothing_is_allowed_to_other_origins(admin: httpx.Client) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}

    answers = [admin.options(STATE, headers=asked), admin.get("/services", headers=asked)]

    assert not [name for answer in answers for name in answer.headers if "control-allow" in name]


def test_a_client_that_leaves_harms_nobody(server: HowdahProcess, admin: httpx.Client) -> None:
    host, port = server.admin.removeprefix("http://").split(":")
    for sent in (
        b"PATCH /invocations/x/cancel HTTP/1.1\r\nhost: a\r\n\r\n",
        f"POST {BATCH} HTTP/1.1\r\nhost: a\r\ncontent-type: {JSON}\r\ncontent-length: 99\r\n\r\n{{".encode(),
    ):
        with socket.create_connection((host, int(port))) as client:
            client.sendall(sent)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and admin.get("/health").status_code != 200:
        time.sleep(0.02)

    assert admin.get("/health").status_code == 200


def test_a_database_that_is_away_is_503(servers: Servers, dsn: str) -> None:
    with door_to(dsn) as (door, url):
        served = servers.serve(url)
        with (
            httpx.Client(base_url=served.admin, timeout=30, trust_env=False) as admin,
            httpx.Client(base_url=served.ingress, timeout=30, trust_env=False) as http,
        ):
            door.close()
            answers = [
                admin.patch(f"/invocations/{UNKNOWN}/cancel"),
                admin.patch(f"/invocations/{UNKNOWN}/restart-as-new"),
                admin.get("/services"),
                admin.get("/deployments"),
                admin.post(STATE, json={"object_key": "k", "new_state": {}}),
                http.post(f"/restate/a/{awakeable_id(UUID(UNKNOWN), 17)}/resolve"),
                http.get("/restate/workflow/Approval/k/output"),
            ]
            batch = admin.post(BATCH, json={"invocation_ids": [UNKNOWN]})

            door.open()
            deadline = time.monotonic() + 20
            while admin.patch(f"/invocations/{UNKNOWN}/cancel").status_code != 404:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        said = served.said
        served.end()

    assert [answer.status_code for answer in answers] == [503] * len(answers)
    assert {answer.headers["retry-after"] for answer in answers} == {"1"}
    assert batch.json()["failed"][0]["error"].startswith("The database cannot be reached")
    assert "Traceback" not in said


def test_nothing_of_this_left_a_trace_in_the_log(server: HowdahProcess, admin: Any) -> None:
    assert admin.get("/version").status_code == 200
    assert "Traceback" not in server.said
    assert "request failed" not in server.said
