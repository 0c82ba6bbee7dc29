from datetime import datetime
from uuid import UUID, uuid4

import httpx
import pytest


def message_of(response: httpx.Response) -> str:
    body = response.json()
    assert body["code"] == response.status_code
    assert body["source"] == response.headers["x-restate-error-source"]
    message: str = body["message"]
    return message


def test_a_call_answers_with_the_handlers_output(http: httpx.Client) -> None:
    response = http.post("/Echo/double", json=21)

    assert (response.status_code, response.json()) == (200, 42)
    assert response.headers["content-type"] == "application/json"
    UUID(response.headers["x-restate-id"])


def test_a_get_calls_as_well(http: httpx.Client) -> None:
    response = http.get("/Echo/nothing")

    assert (response.status_code, response.content) == (200, b"")


def test_the_newer_paths_mean_the_same(http: httpx.Client) -> None:
    called = http.post("/restate/call/Echo/double", json=1)
    sent = http.post("/restate/send/Echo/double", json=1)

    assert called.json() == 2
    assert (sent.status_code, sent.json()["status"]) == (202, "Accepted")


@pytest.mark.parametrize("body", [b"\0\xff", b"x" * 900_000, b'{"a":' * 5000])
def test_bytes_pass_through_unread(http: httpx.Client, body: bytes) -> None:
    response = http.post("/Echo/back", content=body, headers={"content-type": "a/b"})

    assert (response.status_code, response.content) == (200, body)


@pytest.mark.parametrize("key", ["joe", "a/b", "é ü", "%", "send", "..", "a+b", "x" * 1000])
def test_keys_reach_the_handler_decoded_once(http: httpx.Client, key: str) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in key.encode())

    response = http.post(f"/Counter/{encoded}/own_key")

    assert response.json() == key


def test_the_handler_sees_path_and_headers(http: httpx.Client) -> None:
    response = http.post("/Echo/headers?a=1&b", headers={"x-note": "hi", "idempotency-key": "h"})

    seen = response.json()
    assert seen["x-restate-ingress-path"] == "/Echo/headers?a=1&b"
    assert seen["x-note"] == "hi"
    assert not {"host", "connection", "idempotency-key"} & set(seen)


def test_an_object_keeps_its_state(http: httpx.Client) -> None:
    key = uuid4().hex

    assert [http.post(f"/Counter/{key}/add", json=2).json() for _ in range(3)] == [2, 4, 6]
    assert http.post(f"/Counter/{key}/total").json() == 6


def test_a_failure_keeps_its_code_and_metadata(http: httpx.Client) -> None:
    response = http.post("/Echo/fail", json=418)

    assert response.status_code == 418
    assert response.headers["x-restate-error-source"] == "invocation"
    assert response.json() == {
        "code": 418,
        "message": "out of seats",
        "source": "invocation",
        "metadata": {"row": "7"},
    }
    UUID(response.headers["x-restate-id"])


def test_an_idempotency_key_makes_two_calls_one(http: httpx.Client) -> None:
    key, idempotency = uuid4().hex, {"idempotency-key": uuid4().hex}

    first = http.post(f"/Counter/{key}/add", json=1, headers=idempotency)
    second = http.post(f"/Counter/{key}/add", json=1, headers=idempotency)

    assert first.json() == second.json() == 1
    assert first.headers["x-restate-id"] == second.headers["x-restate-id"]
    assert "idempotency-expires" not in first.headers
    datetime.fromisoformat(second.headers["idempotency-expires"])


def test_a_repeated_send_is_told_so(http: httpx.Client) -> None:
    idempotency = {"idempotency-key": uuid4().hex}

    first = http.post("/Echo/double/send", json=1, headers=idempotency).json()
    second = http.post("/Echo/double/send", json=1, headers=idempotency).json()

    assert (first["status"], second["status"]) == ("Accepted", "PreviouslyAccepted")
    assert first["invocationId"] == second["invocationId"]


def test_a_delayed_send_tells_when_it_runs(http: httpx.Client) -> None:
    response = http.post("/Echo/double/send?delay=1h", json=1)

    assert response.status_code == 202
    at = response.json()["executionTime"]
    assert at.endswith("000Z")
    assert len(at) == len("2026-11-24T06:33:37.838000000Z")


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/", 400, "bad path: /"),
        ("POST", "/Nobody/double", 404, "service 'Nobody' not found, make sure"),
        ("POST", "/Nobody/a/b/c", 404, "service 'Nobody' not found"),
        ("POST", "/Echo/nope", 404, "the service 'Echo' exists, but the handler 'nope'"),
        ("POST", "/Echo/a/b", 400, "bad path, expected either"),
        ("POST", "/Counter/k", 400, "bad path, expected either"),
        ("POST", "/Counter/%FF/add", 400, "bad path, cannot decode key: "),
        ("POST", "/Counter/%00/add", 400, "bad path, cannot decode key: "),
        ("DELETE", "/Echo/double", 405, "method not allowed"),
        ("PUT", "/Nobody/double", 404, "service 'Nobody' not found"),
        ("POST", "/Hidden/secret", 400, "the invoked service is not public"),
        ("POST", "/openapi/x", 404, "not found"),
        (
            "POST",
            "/restate/scope/a/call/Approval/k/run",
            400,
            "scope is not supported for Workflow",
        ),
        (
            "POST",
            "/restate/scope/a%20b/call/Echo/nothing",
            400,
            "bad scope value: 'a%20b' is not 1",
        ),
        ("POST", f"/restate/scope/{'a' * 37}/send/Echo/nothing", 400, "bad scope value: "),
        ("POST", "/restate/scope/a/call/Nobody/x", 404, "service 'Nobody' not found"),
        ("POST", "/restate/scope/a/Echo/nothing", 404, "not found"),
        ("POST", "/restate/scope/a/call/Counter/k/add", 400, "scope is not supported for Virtual"),
        ("GET", "/restate/nonsense", 404, "not found"),
    ],
)
def test_a_path_that_means_nothing_is_refused(
    http: httpx.Client, method: str, path: str, status: int, message: str
) -> None:
    response = http.request(method, path)

    assert response.status_code == status
    assert message_of(response).startswith(message)


@pytest.mark.parametrize(
    ("path", "body", "content_type", "message"),
    [
        ("/Echo/double", b"1", "text/plain", "Content-type 'text/plain' does not match"),
        ("/Echo/double", b"1", None, "Empty content-type"),
        ("/Echo/double", b"", None, "Empty body not allowed"),
        ("/Echo/nothing", b"1", "application/json", "Expected body and content-type to be empty"),
        ("/Echo/double?delay=1s", b"1", "application/json", "cannot use the delay query"),
        ("/Echo/double/send?delay=x", b"1", "application/json", "bad delay query parameter"),
        ("/Echo/double?limit-key=a", b"1", "application/json", "limit-key requires a scope"),
        (
            "/restate/scope/s/call/Echo/double?limit-key=a/b/c",
            b"1",
            "application/json",
            "invalid limit-key: 'a/b/c' is not one name, or two",
        ),
    ],
)
def test_a_request_that_does_not_fit_its_handler_is_refused(
    http: httpx.Client, path: str, body: bytes, content_type: str | None, message: str
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}

    response = http.post(path, content=body, headers=headers)

    assert response.status_code == 400
    assert message in message_of(response)


@pytest.mark.parametrize("body", [b'"text"', b"1" * 500_000, b'{"a": [1, {}]}'])
def test_input_that_is_not_the_handlers_type_fails_the_invocation(
    http: httpx.Client, body: bytes
) -> None:
    response = http.post("/Echo/double", content=body, headers={"content-type": "application/json"})

    assert response.status_code == 400
    assert response.json()["source"] == "invocation"
    assert http.post("/Echo/double", json=1).json() == 2


def test_every_origin_is_answered(http: httpx.Client) -> None:
    asked = {
        "origin": "https://shop.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }

    preflight = http.options("/Echo/double", headers=asked)
    response = http.post("/Echo/double", json=1, headers={"origin": "https://shop.example"})

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert preflight.headers["access-control-allow-headers"] == "content-type"
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    assert response.headers["access-control-allow-credentials"] == "true"
