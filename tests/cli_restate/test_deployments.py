"""`deployments register`, `list`, `describe` and `remove`, with a service of the official Python SDK."""

import re
from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest

from cli_restate.tool import Restate
from howdah.ids import restate_id
from support.sdk_processes import SdkEndpoint

V2 = "dp_100000000000000000000v2"


@pytest.fixture
def registered(restate: Restate, endpoint: SdkEndpoint) -> Iterator[str]:
    """The id of the deployment; it is taken away afterwards."""
    said = restate.out("deployments", "register", "--yes", endpoint.uri)
    id_ = re.findall(r"dp_1\w{22}", said)[-1]
    yield id_
    restate.run("deployments", "remove", "--yes", "--force", id_)


def test_register(restate: Restate, endpoint: SdkEndpoint, registered: str) -> None:
    again = restate.out("deployments", "register", "--yes", endpoint.uri)
    forced = restate.out("deployments", "register", "--yes", "--force", endpoint.uri)

    assert f"Deployment already exists with id {registered}" in again
    assert "SERVICES THAT WILL BE UPDATED" in forced
    assert f"Deployment ID: {registered}" in forced
    assert re.search(r"^Account \d+$", forced, re.M)


def test_what_cannot_be_registered_is_said(restate: Restate) -> None:
    nobody = restate.refused("deployments", "register", "--yes", "http://127.0.0.1:9")
    elsewhere = restate.refused("deployments", "register", "--yes", "http://10.1.2.3:9080")

    function = "arn:aws:lambda:us-east-1:123456789012:function:f:1"
    lambda_ = restate.refused("deployments", "register", "--yes", function)
    token = restate.refused(
        "deployments", "register", "--yes", "--gcp-id-token", "http://127.0.0.1:9"
    )

    assert "functions of AWS Lambda are not driven" in lambda_
    assert "tokens are not fetched" in token
    assert "[META0003]" in nobody
    assert "HOWDAH_ENDPOINT_ALLOW" in elsewhere


def test_list(restate: Restate, endpoint: SdkEndpoint, registered: str) -> None:
    said = restate.out("deployments", "list", "--extra").splitlines()

    remote = next(line for line in said if registered in line)
    local = next(line for line in said if V2 in line)
    assert remote.startswith(f"{endpoint.uri}/ HTTP Active 0 {registered}")
    assert local.startswith("howdah://workers/v2 HTTP Active")
    assert any(re.search(r"- Account \[\d+\]", line) for line in said)


def test_describe(restate: Restate, endpoint: SdkEndpoint, registered: str) -> None:
    remote = restate.out("deployments", "describe", registered)
    local = restate.out("deployments", "describe", V2)
    unknown = restate.refused("deployments", "describe", "dp_100000000000000000000v9")

    assert f"Endpoint: {endpoint.uri}/" in remote
    assert "Protocol Style: Bidirectional Stream" in remote
    assert "SDK Version restate-sdk-python/" in remote
    assert "- Transfers" in remote
    assert "Endpoint: howdah://workers/v2" in local
    assert "- Cart\nType: VirtualObject virtual object\nRevision: 1 [Latest]" in local
    assert "does not exist" in unknown


def test_a_journal_of_an_endpoint_is_described(
    restate: Restate, http: httpx.Client, registered: str, key: str
) -> None:
    deposited = http.post(f"/Account/{key}/deposit", json=100)
    assert deposited.json() == 100, deposited.text
    move = {"source": key, "target": f"{key}2", "amount": 30}
    moved = http.post("/Transfers/move", json=move)

    said = restate.out("invocations", "describe", restate_id(UUID(moved.headers["x-restate-id"])))
    balance = restate.out("state", "get", "Account", key)

    assert "Status: completed with success" in said
    assert f"Deployment: {registered}" in said
    assert "Command: Run [number the receipt]" in said
    assert "Command: Sleep" in said
    assert said.count("Command: Call") == 2
    assert "balance 70" in balance


def test_remove(restate: Restate, http: httpx.Client, registered: str) -> None:
    refused = restate.refused("deployments", "remove", "--yes", registered)
    said = restate.out("deployments", "remove", "--yes", "--force", registered)

    assert "Deployment is still Active." in refused
    assert f"Deployment {registered} removed successfully" in said
    assert registered not in restate.out("deployments", "list")
    assert http.post("/Account/ann/deposit", json=1).status_code == 404


def test_what_workers_serve_is_not_removed(restate: Restate) -> None:
    said = restate.refused("deployments", "remove", "--yes", "--force", V2)

    assert "status client error (400" in said
    assert V2 in restate.out("deployments", "list")
