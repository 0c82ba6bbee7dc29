"""Workflows over HTTP: one run for each key, found again by it."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from support.servers import HowdahProcess

ALREADY = "the workflow method was already invoked"


@pytest.fixture
def key() -> str:
    return uuid4().hex


def start(http: httpx.Client, key: str) -> str:
    answer = http.post(f"/Approval/{key}/run/send", json=100)
    assert answer.status_code == 202
    id_: str = answer.json()["invocationId"]
    return id_


def approve(http: httpx.Client, key: str) -> None:
    assert http.post(f"/Approval/{key}/approve", json="ann").status_code == 200


async def test_a_call_answers_when_the_run_is_through(server: HowdahProcess, key: str) -> None:
    async with httpx.AsyncClient(base_url=server.ingress, timeout=30, trust_env=False) as http:
        running = asyncio.ensure_future(http.post(f"/Approval/{key}/run", json=100))
        await http.post(f"/Approval/{key}/approve", json="ann")
        answer = await running

    assert (answer.status_code, answer.json()) == (200, "100 approved by ann")


@pytest.mark.parametrize("is_through", [False, True])
def test_a_second_call_is_409(http: httpx.Client, key: str, is_through: bool) -> None:
    run = start(http, key)
    if is_through:
        approve(http, key)
        http.get(f"/restate/attach/{run}")

    answers = [
        http.post(f"/Approval/{key}/run", json=7),
        http.post(f"/restate/call/Approval/{key}/run", json=7),
    ]

    for answer in answers:
        assert answer.status_code == 409
        assert answer.json() == {"code": 409, "message": ALREADY, "source": "invocation"}
        assert answer.headers["x-restate-error-source"] == "invocation"
        assert answer.headers["x-restate-id"] == run


def test_a_second_send_gives_the_first_id(http: httpx.Client, key: str) -> None:
    run = start(http, key)

    answers = [
        http.post(f"/Approval/{key}/run/send", json=7),
        http.post(f"/restate/send/Approval/{key}/run?delay=1h", json=7),
    ]

    for answer in answers:
        assert answer.status_code == 202
        assert answer.json() == {"invocationId": run, "status": "PreviouslyAccepted"}


def test_an_idempotency_key_is_for_the_handlers_beside(http: httpx.Client, key: str) -> None:
    start(http, key)
    headers = {"idempotency-key": "x"}

    refused = http.post(f"/Approval/{key}/run", json=1, headers=headers)
    accepted = http.post(f"/Approval/{key}/approve/send", json="ann", headers=headers)
    again = http.post(f"/Approval/{key}/approve/send", json="ann", headers=headers)

    assert refused.status_code == 400
    assert refused.json()["message"] == (
        "cannot use the idempotency key with workflow handlers. The handler invocation will already"
        " be idempotent by the workflow key itself."
    )
    assert again.json() == {**accepted.json(), "status": "PreviouslyAccepted"}


@pytest.mark.parametrize("verb", ["attach", "output"])
def test_a_run_is_found_by_its_key(http: httpx.Client, verb: str) -> None:
    key = f"{uuid4().hex}/ü"
    body = {"target": "workflow", "workflowName": "Approval", "workflowKey": key}
    encoded = key.replace("/", "%2F").replace("ü", "%C3%BC")
    run = start(http, encoded)
    waiting = http.get(f"/restate/workflow/Approval/{encoded}/output")
    approve(http, encoded)
    http.get(f"/restate/attach/{run}")

    answers = [
        http.get(f"/restate/workflow/Approval/{encoded}/{verb}"),
        http.post(f"/restate/{verb}", json=body),
    ]

    assert waiting.status_code == 470
    for answer in answers:
        assert (answer.status_code, answer.json()) == (200, "100 approved by ann")
        assert answer.headers["x-restate-id"] == run
        assert "idempotency-expires" in answer.headers
    assert http.post("/restate/lookup", json=body).json() == {"invocationId": run}


def test_a_run_that_is_not_there_is_404(http: httpx.Client, key: str) -> None:
    attached = http.get(f"/restate/workflow/Approval/{key}/attach")
    output = http.get(f"/restate/workflow/Approval/{key}/output")

    assert attached.json() == {"code": 404, "message": "not found", "source": "invocation"}
    assert output.json() == {"code": 404, "message": "invocation not found", "source": "ingress"}


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/restate/workflow/Nobody/k/attach", 404, "service 'Nobody' not found"),
        ("/restate/workflow/Counter/k/attach", 400, "the service 'Counter' is not a workflow"),
        ("/restate/workflow/Approval//attach", 400, "bad path"),
        ("/restate/workflow/Approval/%00/attach", 400, "bad path, cannot decode key"),
        ("/restate/workflow/Approval/%FF/output", 400, "bad path, cannot decode key"),
        ("/restate/workflow/Approval/k/result", 404, "not found"),
        ("/restate/workflow/Approval/k", 404, "not found"),
    ],
)
def test_a_path_that_names_no_run_is_refused(
    http: httpx.Client, path: str, status: int, message: str
) -> None:
    answer = http.get(path)

    assert answer.status_code == status
    assert answer.json()["message"].startswith(message)


def test_only_get_asks_for_a_run(http: httpx.Client) -> None:
    answer = http.post("/restate/workflow/Approval/k/attach")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "target",
    [
        {"target": "workflow", "workflowName": "SecretPlan", "workflowKey": "k"},
        {
            "target": "idempotentInvocation",
            "service": "Hidden",
            "handler": "secret",
            "idempotencyKey": "x",
        },
        {
            "target": "idempotentInvocation",
            "service": "Counter",
            "key": "k",
            "handler": "~set_state",
            "idempotencyKey": "x",
        },
    ],
)
def test_what_is_private_is_not_found_by_any_key(http: httpx.Client, target: Any) -> None:
    answers = [
        http.post(f"/restate/{verb}", json=target) for verb in ("attach", "output", "lookup")
    ]

    for answer in answers:
        assert answer.status_code == 400
        assert answer.json()["message"] == "the invoked service is not public"


@pytest.mark.parametrize(
    "path",
    [
        "/SecretPlan/k/run",
        "/SecretPlan/k/run/send",
        "/restate/call/SecretPlan/k/run",
        "/restate/send/Hidden/secret",
        "/restate/call/Counter/k/~set_state",
        "/restate/workflow/SecretPlan/k/attach",
        "/restate/workflow/SecretPlan/k/output",
        "/restate/invocation/Hidden/secret/x/attach",
    ],
)
def test_what_is_private_is_not_served(http: httpx.Client, path: str) -> None:
    answer = http.get(path)

    assert answer.status_code == 400
    assert answer.json()["message"] == "the invoked service is not public"


def test_a_key_of_a_target_holds_no_nul(http: httpx.Client) -> None:
    target = {"target": "workflow", "workflowName": "Approval", "workflowKey": "a\0"}

    answer = http.post("/restate/output", json=target)

    assert answer.status_code == 400
    assert http.post("/restate/output", json={**target, "workflowKey": ""}).status_code == 400
