from importlib import metadata
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from howdah.ids import restate_id

UNKNOWN = "0192f0c1-2b3c-7d4e-8f50-617283940a1b"


@pytest.fixture
def finished(http: httpx.Client) -> str:
    """The id of an invocation that answered 42."""
    return http.post("/Echo/double", json=21).headers["x-restate-id"]


@pytest.mark.parametrize("verb", ["attach", "output"])
def test_a_finished_invocation_is_answered_as_stored(
    http: httpx.Client, finished: str, verb: str
) -> None:
    answers = [
        http.get(f"/restate/invocation/{finished}/{verb}"),
        http.get(f"/restate/{verb}/{finished}"),
        http.post(f"/restate/{verb}", json={"target": "invocation", "invocationId": finished}),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()) == (200, 42)
        assert answer.headers["x-restate-id"] == finished
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("verb", ["attach", "output"])
def test_a_stored_failure_is_answered_as_an_error(http: httpx.Client, verb: str) -> None:
    failed = http.post("/Echo/fail", json=409).headers["x-restate-id"]

    answer = http.get(f"/restate/invocation/{failed}/{verb}")

    assert answer.status_code == 409
    assert answer.json()["source"] == "invocation"


def test_a_connection_is_free_at_once_after_a_long_wait(http: httpx.Client) -> None:
    sent = http.post("/Echo/pause/send", json=0.5).json()["invocationId"]

    with httpx.Client(base_url=http.base_url, trust_env=False) as client:
        attached = client.get(f"/restate/invocation/{sent}/attach")
        # The server took the connection to have a body of the request before that never came.
        again = client.get("/restate/health")

    assert attached.json() == "rested"
    assert again.elapsed.total_seconds() < 3


def test_an_idempotency_key_finds_its_invocation(http: httpx.Client) -> None:
    key, idempotency_key = uuid4().hex, uuid4().hex
    http.post(f"/Counter/{key}/add", json=7, headers={"idempotency-key": idempotency_key})
    body = {
        "target": "idempotentInvocation",
        "service": "Counter",
        "key": key,
        "handler": "add",
        "idempotencyKey": idempotency_key,
    }

    answers = [
        http.get(f"/restate/invocation/Counter/{key}/add/{idempotency_key}/output"),
        http.post("/restate/attach", json=body),
    ]

    assert [answer.json() for answer in answers] == [7, 7]
    looked_up = http.post("/restate/lookup", json=body).json()
    assert looked_up == {"invocationId": answers[0].headers["x-restate-id"]}


def test_output_that_is_not_there_yet_is_470(http: httpx.Client) -> None:
    sent = http.post("/Echo/double/send?delay=1h", json=1).json()["invocationId"]

    answer = http.get(f"/restate/invocation/{sent}/output")

    assert answer.status_code == 470
    assert answer.json()["message"] == "the invocation exists but has not completed yet"


def test_attach_waits_for_the_result(http: httpx.Client) -> None:
    sent = http.post("/Echo/pause/send", json=0.5).json()["invocationId"]

    answer = http.get(f"/restate/invocation/{sent}/attach")

    assert (answer.status_code, answer.json()) == (200, "rested")


def test_an_id_may_have_the_form_of_other_tools(http: httpx.Client) -> None:
    done = http.post("/Echo/double", json=21).headers["x-restate-id"]
    id_ = restate_id(UUID(done))

    for path in (f"/restate/invocation/{id_}/attach", f"/restate/output/{id_}"):
        answer = http.get(path)
        assert (answer.json(), answer.headers["x-restate-id"]) == (42, done)


def test_an_unknown_invocation_is_404(http: httpx.Client) -> None:
    attached = http.get(f"/restate/invocation/{UNKNOWN}/attach")
    output = http.get(f"/restate/invocation/{UNKNOWN}/output")

    assert attached.status_code == output.status_code == 404
    assert attached.json()["source"] == "invocation"
    assert attached.headers["x-restate-id"] == UNKNOWN
    assert output.json() == {"code": 404, "message": "invocation not found", "source": "ingress"}


@pytest.mark.parametrize("text", ["x", "inv_1abc", "0192f0c1", "%00", "a%2Fb"])
def test_an_id_that_is_none_is_refused(http: httpx.Client, text: str) -> None:
    answer = http.get(f"/restate/invocation/{text}/attach")

    assert answer.status_code == 400
    assert answer.json()["message"] == f"bad invocation id '{text}': bad format"


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'{"target":"x"}', b"[" * 50_000, b"\xff"])
def test_a_target_that_cannot_be_read_is_refused(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/restate/lookup", content=body)

    assert answer.status_code == 500
    assert answer.json()["message"].startswith("cannot read body: ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/restate/health"),
        ("GET", "/restate/lookup"),
        ("POST", f"/restate/attach/{UNKNOWN}"),
        ("DELETE", f"/restate/invocation/{UNKNOWN}/output"),
    ],
)
def test_other_methods_are_not_allowed(http: httpx.Client, method: str, path: str) -> None:
    assert http.request(method, path).status_code == 405


def test_health_lists_the_services(http: httpx.Client) -> None:
    answer = http.get("/restate/health")

    assert answer.status_code == 200
    assert set(answer.json()["services"]) >= {"Echo", "Hidden", "Counter"}


def test_admin_tells_health_and_version(server: Any) -> None:
    with httpx.Client(base_url=server.admin, trust_env=False) as admin:
        health = admin.get("/health")
        version = admin.get("/version").json()
        nothing = admin.get("/nothing")
        wrong = admin.post("/health")

    assert (health.status_code, health.content) == (200, b"")
    assert version == {
        "version": metadata.version("howdah"),
        "min_admin_api_version": 2,
        "max_admin_api_version": 4,
        "ingress_endpoint": server.ingress,
        "features": {"vqueues": True, "protocol_v7": False},
    }
    assert nothing.status_code == 404
    assert nothing.json() == {"message": "There is nothing at /nothing", "restate_code": None}
    assert wrong.status_code == 405
