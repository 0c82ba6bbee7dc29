"""What the admin port tells of services and deployments, and the state that it replaces."""

import time
from typing import Any
from uuid import uuid4

import httpx
import pytest

from howdah.worker.patching import state_version
from support.servers import HowdahProcess, Servers

DOUBLE = {
    "name": "double",
    "idempotency_retention": "1d",
    "journal_retention": "1d",
    "public": True,
    "input_description": "value of content-type 'application/json'",
    "output_description": "value of content-type 'application/json'",
    "input_json_schema": {"type": "integer"},
    "output_json_schema": {"type": "integer"},
    "retry_policy": {"max_attempts": None},
}


def test_services_are_told_with_their_handlers(admin: httpx.Client) -> None:
    services = {one["name"]: one for one in admin.get("/services").json()["services"]}

    assert {"Echo", "Hidden", "Counter", "Approval"} <= services.keys()
    echo, counter, approval = services["Echo"], services["Counter"], services["Approval"]
    assert (echo["ty"], counter["ty"]) == ("Service", "VirtualObject")
    assert (approval["ty"], approval["workflow_completion_retention"]) == ("Workflow", "1d")
    assert (echo["public"], services["Hidden"]["public"]) == (True, False)
    assert counter["documentation"] == "Counts."
    assert counter["metadata"] == {"team": "seats"}
    assert (counter["revision"], counter["journal_retention"]) == (1, "1d")
    assert DOUBLE in echo["handlers"]
    kinds = {handler["name"]: handler.get("ty") for handler in counter["handlers"]}
    assert kinds == {
        "add": "Exclusive",
        "total": "Shared",
        "own_key": "Exclusive",
        "hold": "Exclusive",
        "awakeable": "Shared",
    }


def test_one_service_and_handler_are_told(admin: httpx.Client) -> None:
    service = admin.get("/services/Echo").json()

    assert service in admin.get("/services").json()["services"]
    assert admin.get("/services/Echo/handlers").json() == {"handlers": service["handlers"]}
    assert admin.get("/services/Echo/handlers/double").json() == DOUBLE


@pytest.mark.parametrize(
    ("handler", "taken", "given"),
    [
        ("nothing", "none", "value of content-type 'application/json'"),
        (
            "back",
            'one of ["none", "value of content-type \'*/*\'"]',
            "value of content-type 'application/octet-stream'",
        ),
    ],
)
def test_what_a_handler_takes_and_gives_is_told(
    admin: httpx.Client, handler: str, taken: str, given: str
) -> None:
    told = admin.get(f"/services/Echo/handlers/{handler}").json()

    assert (told["input_description"], told["output_description"]) == (taken, given)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/services/Nobody", "The requested service 'Nobody' does not exist"),
        ("/services/Nobody/handlers", "The requested service 'Nobody' does not exist"),
        ("/services/Nobody/openapi", "The requested service 'Nobody' does not exist"),
        ("/services/%00", "The requested service '\0' does not exist"),
        (
            "/services/Echo/handlers/nope",
            "The requested handler 'nope' on service 'Echo' does not exist",
        ),
        (
            "/services/Counter/handlers/~set_state",
            "The requested handler '~set_state' on service 'Counter' does not exist",
        ),
        ("/deployments/nope", "The requested deployment 'nope' does not exist"),
        ("/deployments/a%2Fb", "The requested deployment 'a/b' does not exist"),
    ],
)
def test_what_is_not_there_is_404(admin: httpx.Client, path: str, message: str) -> None:
    answer = admin.get(path)

    assert answer.status_code == 404
    assert answer.json() == {"message": message, "restate_code": None}


def test_deployments_are_told_with_their_services(admin: httpx.Client) -> None:
    services = {one["name"]: one for one in admin.get("/services").json()["services"]}
    (deployment,) = admin.get("/deployments").json()["deployments"]

    assert deployment["id"] == services["Echo"]["deployment_id"]
    assert deployment["services"] == [{"name": name, "revision": 1} for name in sorted(services)]
    assert (deployment["type"], deployment["workers"]) == ("local", 1)
    assert deployment["latest_of"] == sorted(services)
    assert deployment["created_at"].endswith("000Z")
    detailed = admin.get(f"/deployments/{deployment['id']}").json()
    assert detailed == {**deployment, "services": [services[name] for name in sorted(services)]}


def set_state(admin: httpx.Client, key: str, state: dict[str, bytes], **more: Any) -> None:
    body = {"object_key": key, "new_state": {name: list(value) for name, value in state.items()}}
    answer = admin.post("/services/Counter/state", json={**body, **more})
    assert (answer.status_code, answer.content) == (202, b"")


def test_state_is_replaced_in_the_keys_turn(http: httpx.Client, admin: httpx.Client) -> None:
    key = uuid4().hex
    http.post(f"/Counter/{key}/add", json=1)

    set_state(admin, key, {"total": b"41", "note": b"\x00\xff"})

    # It waits in the key's inbox behind the edit.
    assert http.post(f"/Counter/{key}/add", json=1).json() == 42
    set_state(admin, key, {})
    assert http.post(f"/Counter/{key}/add", json=1).json() == 1


def test_state_of_another_version_is_left_alone(http: httpx.Client, admin: httpx.Client) -> None:
    key = uuid4().hex
    http.post(f"/Counter/{key}/add", json=1)

    set_state(admin, key, {"total": b"7"}, version="another")
    assert http.post(f"/Counter/{key}/add", json=1).json() == 2
    set_state(admin, key, {"total": b"7"}, version=state_version([("total", b"2")]))
    assert http.post(f"/Counter/{key}/add", json=1).json() == 8


@pytest.mark.parametrize(
    ("service", "body", "status", "message"),
    [
        ("Nobody", {}, 404, "The requested service 'Nobody' does not exist"),
        ("Echo", {}, 400, "Cannot modify state for service type Service"),
        ("Counter", {"object_key": ""}, 400, "The request field 'object_key' is invalid."),
        ("Counter", {"object_key": "a\0"}, 400, "The request field 'object_key' is invalid."),
        ("Counter", {"object_key": "k" * 1025}, 400, "The request field 'object_key' is invalid."),
        ("Counter", {"new_state": {"": []}}, 400, "The request field 'new_state' is invalid."),
        ("Counter", {"new_state": {"a\0": []}}, 400, "The request field 'new_state' is invalid."),
        ("Counter", {"new_state": {"a": [256]}}, 400, "The request field 'new_state' is invalid."),
        ("Counter", {"new_state": {"a": [-1]}}, 400, "The request field 'new_state' is invalid."),
        ("Counter", {"new_state": {"a": "x"}}, 422, "The body is JSON of another shape: "),
        ("Counter", {"scope": "s"}, 400, "The request field 'scope' is invalid."),
    ],
)
def test_state_that_cannot_be_is_refused(
    admin: httpx.Client, service: str, body: Any, status: int, message: str
) -> None:
    whole = {"object_key": "k", "new_state": {}, **body}

    answer = admin.post(f"/services/{service}/state", json=whole)

    assert answer.status_code == status
    assert answer.json()["message"].startswith(message)


def test_a_process_that_executes_nothing_does_all_of_it(servers: Servers, dsn: str) -> None:
    worker = servers.serve(dsn, HOWDAH_ROLES="ingress,worker")
    worker.wait_until_said("is ready")
    other = servers.run(
        "serve", "--roles", "admin", HOWDAH_DATABASE_URL=dsn, HOWDAH_ADMIN="127.0.0.1:0"
    )
    other.wait_until_said("is ready")
    with (
        httpx.Client(base_url=_address(other, "admin"), timeout=30, trust_env=False) as admin,
        httpx.Client(base_url=_address(worker, "ingress"), timeout=30, trust_env=False) as http,
    ):
        set_state(admin, "k", {"total": b"41"})
        _until_total(http, "k", 41)
        asleep = http.post("/Echo/pause/send", json=3600).json()["invocationId"]
        killed = admin.patch(f"/invocations/{asleep}/kill")
        done = http.post("/Echo/double", json=21).headers["x-restate-id"]
        again = admin.patch(f"/invocations/{done}/restart-as-new").json()["new_invocation_id"]

        assert killed.status_code == 200
        assert http.get(f"/restate/attach/{asleep}").json()["message"] == "killed"
        assert http.get(f"/restate/attach/{again}").json() == 42
        assert "servers" not in admin.get("/services/Echo/openapi").json()


def _address(process: HowdahProcess, what: str) -> str:
    line = next(line for line in process.said.splitlines() if line.strip().startswith(what))
    return line.split()[1]


def _until_total(http: httpx.Client, key: str, total: int) -> None:
    deadline = time.monotonic() + 20
    while http.post(f"/Counter/{key}/total").json() != total:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def references(document: Any) -> list[str]:
    if isinstance(document, list):
        return [found for item in document for found in references(item)]
    if not isinstance(document, dict):
        return []
    own = [document["$ref"]] if isinstance(document.get("$ref"), str) else []
    return own + [found for item in document.values() for found in references(item)]


def resolve(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for part in reference[2:].split("/"):
        document = document[part]
    return document


@pytest.mark.parametrize("service", ["Echo", "Counter", "Approval", "Hidden"])
def test_a_service_has_an_openapi_document(
    server: HowdahProcess, admin: httpx.Client, service: str
) -> None:
    document = admin.get(f"/services/{service}/openapi").json()

    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] == service
    assert document["info"]["version"] == "1"
    assert document["servers"] == [{"url": server.ingress}]
    assert (document["paths"] == {}) is (service == "Hidden")
    assert not [found for found in references(document) if not resolve(document, found)]
    ids = []
    for path, item in document["paths"].items():
        for operation in item.values():
            ids.append(operation["operationId"])
            parameters = [resolve(document, one["$ref"]) for one in operation["parameters"]]
            in_path = {one["name"] for one in parameters if one["in"] == "path"}
            assert in_path == {part[1:-1] for part in path.split("/") if part.startswith("{")}
            assert "default" in operation["responses"]
    assert len(set(ids)) == len(ids)


def test_the_paths_of_a_document_are_those_of_the_ingress(admin: httpx.Client) -> None:
    counter = admin.get("/services/Counter/openapi").json()["paths"]
    approval = admin.get("/services/Approval/openapi").json()["paths"]

    call = counter["/restate/call/Counter/{key}/add"]["post"]
    assert call["operationId"] == "add"
    assert [one["$ref"].rpartition("/")[2] for one in call["parameters"]] == [
        "key",
        "idempotencyKeyHeader",
    ]
    assert call["requestBody"]["required"] is True
    assert call["requestBody"]["content"].keys() == {"application/json"}
    send = counter["/restate/send/Counter/{key}/add"]["post"]
    assert (send["operationId"], sorted(send["responses"])) == (
        "addSend",
        ["200", "202", "default"],
    )
    assert "/restate/invocation/Counter/{key}/add/{idempotencyKey}/attach" in counter
    output = counter["/restate/invocation/Counter/{key}/add/{idempotencyKey}/output"]["get"]
    assert sorted(output["responses"]) == ["200", "404", "470", "default"]
    assert sorted(approval) == [
        "/restate/call/Approval/{key}/approve",
        "/restate/call/Approval/{key}/run",
        "/restate/send/Approval/{key}/approve",
        "/restate/send/Approval/{key}/run",
        "/restate/workflow/Approval/{key}/attach",
        "/restate/workflow/Approval/{key}/output",
    ]
    assert approval["/restate/workflow/Approval/{key}/attach"]["get"]["operationId"] == "runAttach"
