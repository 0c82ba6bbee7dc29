"""Registering endpoints over the admin port, and what becomes of their services."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from support import engines
from support.commands import howdah, until
from support.runtimes import NEAR, Runtime
from support.sdk_processes import SdkEndpoint
from support.servers import Servers

SMALL = """
import restate
greeter = restate.Service("Greeter")
@greeter.handler()
async def greet(ctx: restate.Context, name: str) -> str:
    return f"Hello from {VERSION}, {{name}}!"
app = restate.app([greeter])
"""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], SdkEndpoint]]:
    """Serves a program of its own for each version."""
    started: list[SdkEndpoint] = []

    def run(program: str) -> SdkEndpoint:
        folder = tmp_path / f"program{len(started)}"
        folder.mkdir()
        path = folder / "program.py"
        path.write_text(program)
        started.append(SdkEndpoint(folder, path))
        return started[-1]

    yield run
    for endpoint in started:
        endpoint.stop()


def small(version: str) -> str:
    return SMALL.replace("{VERSION}", version).replace("{{name}}", "{name}")


def registered_as(runtime: Runtime, uri: str, **facts: Any) -> httpx.Response:
    return runtime.admin.post("/deployments", json={"uri": uri, **facts})


def test_an_endpoint_is_registered_once(runtime: Runtime, endpoint: SdkEndpoint) -> None:
    first = registered_as(runtime, endpoint.uri, metadata={"team": "seats"})
    again = registered_as(runtime, f"{endpoint.uri}/")
    forced = registered_as(runtime, endpoint.uri, force=True)

    assert (first.status_code, again.status_code, forced.status_code) == (201, 200, 200)
    body = first.json()
    assert first.headers["location"] == f"deployments/{body['id']}"
    assert body["id"].startswith("dp_1")
    assert len(body["id"]) == 26
    assert {one["name"]: one["ty"] for one in body["services"]} == {
        "Greeter": "Service", "Counter": "VirtualObject", "Signup": "Workflow",
    }  # fmt: skip
    assert body["sdk_version"].startswith("restate-sdk-python/")
    assert (body["min_protocol_version"], body["max_protocol_version"]) == (5, 7)
    assert again.json() == {**body, "services": sorted(body["services"], key=lambda x: x["name"])}
    assert forced.json()["id"] == body["id"]
    assert {one["revision"] for one in forced.json()["services"]} == {2}

    (listed,) = runtime.admin.get("/deployments").json()["deployments"]
    one = runtime.admin.get(f"/deployments/{body['id']}").json()
    assert {name: listed[name] for name in ("uri", "protocol_type", "http_version")} == {
        "uri": f"{endpoint.uri}/", "protocol_type": "BidiStream", "http_version": "HTTP/2.0",
    }  # fmt: skip
    assert listed["services"] == [
        {"name": name, "revision": 2} for name in ("Counter", "Greeter", "Signup")
    ]
    assert one["services"] == sorted(forced.json()["services"], key=lambda x: x["name"])
    assert runtime.admin.get("/services").json()["services"] == one["services"]


def test_services_and_handlers_are_told(runtime: Runtime, endpoint: SdkEndpoint) -> None:
    runtime.register(endpoint.uri)

    greeter = runtime.admin.get("/services/Greeter").json()
    handlers = {one["name"]: one for one in greeter["handlers"]}

    assert greeter["retry_policy"] == {
        "initial_interval": "500ms", "exponentiation_factor": 2.0, "max_interval": "1m",
        "max_attempts": 70, "on_max_attempts": "Pause",
    }  # fmt: skip
    assert {name: greeter[name] for name in greeter if name.endswith(("timeout", "retention"))} == {
        "idempotency_retention": "1d", "journal_retention": "1d", "inactivity_timeout": "1s",
        "abort_timeout": "10m",
    }  # fmt: skip
    assert handlers["fail"]["retry_policy"] == {
        "initial_interval": "10ms",
        "max_attempts": 3,
        "on_max_attempts": "Kill",
    }
    assert handlers["greet"]["documentation"] == "Greets."
    assert handlers["greet"]["output_description"] == "value of content-type 'application/json'"
    assert handlers["nothing"]["input_description"] == "none"
    counter = runtime.admin.get("/services/Counter").json()
    kinds = {one["name"]: one["ty"] for one in counter["handlers"]}
    assert (kinds["add"], kinds["total"]) == ("Exclusive", "Shared")
    lazily = runtime.admin.get("/services/Counter/handlers/lazily").json()
    assert (counter["enable_lazy_state"], lazily["enable_lazy_state"]) == (False, True)
    signup = runtime.admin.get("/services/Signup").json()
    assert signup["workflow_completion_retention"] == "1d"


def test_a_dry_run_keeps_nothing(runtime: Runtime, endpoint: SdkEndpoint) -> None:
    tried = registered_as(runtime, endpoint.uri, dry_run=True)

    assert tried.status_code == 201
    assert len(tried.json()["services"]) == 3
    assert runtime.admin.get("/deployments").json() == {"deployments": []}
    assert runtime.admin.get("/services").json() == {"services": []}


def test_an_older_interface_overwrites(runtime: Runtime, endpoint: SdkEndpoint) -> None:
    body = {"uri": endpoint.uri}
    first = runtime.admin.post("/v2/deployments", json=body)
    second = runtime.admin.post("/v2/deployments", json=body)
    refused = runtime.admin.post("/v2/deployments", json={**body, "force": False})
    third = runtime.admin.post("/v3/deployments", json=body)
    path = f"/deployments/{first.json()['id']}"

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json()["id"] == first.json()["id"]
    assert (refused.status_code, refused.json()["restate_code"]) == (409, "META0004")
    assert third.status_code == 200
    assert runtime.admin.put(f"/v2{path}", json={}).status_code == 200
    assert runtime.admin.put(f"/v4{path}", json={}).status_code == 405
    assert runtime.admin.get(f"/v4{path}").json() == runtime.admin.get(path).json()
    old = runtime.admin.get("/v1/deployments")
    assert (old.status_code, old.headers["content-type"][:10]) == (400, "text/plain")


@pytest.mark.parametrize(
    ("uri", "status", "code", "said"),
    [
        ("localhost", 400, None, "The provided uri localhost is not absolute"),
        ("ftp://localhost", 400, None, "no address of an endpoint"),
        ("http://user:word@localhost", 400, None, "credentials"),
        ("http://127.0.0.1:1", 500, "META0003", "[META0003] http://127.0.0.1:1/ gave no answer"),
        ("http://10.255.255.1:9080", 500, "META0003", "not a public address"),
    ],
)
def test_what_cannot_be_registered_is_said(
    runtime: Runtime, uri: str, status: int, code: str | None, said: str
) -> None:
    refused = registered_as(runtime, uri)

    assert (refused.status_code, refused.json()["restate_code"]) == (status, code)
    assert said in refused.json()["message"]


def test_howdahs_own_ports_are_no_endpoints(runtime: Runtime) -> None:
    refused = registered_as(runtime, runtime.server.admin)

    assert refused.status_code == 500
    assert "a port of howdah itself" in refused.json()["message"]


def test_a_body_is_read_with_care(runtime: Runtime) -> None:
    post = runtime.admin.post

    assert post("/deployments", json={}).status_code == 422
    assert post("/deployments", json={"uri": 1}).status_code == 422
    assert post("/deployments", json={"arn": "arn:aws:lambda"}).status_code == 400
    assert post("/deployments", content="{}").status_code == 415
    unknown = runtime.admin.delete("/deployments/dp_nobody?force=true")
    assert unknown.json()["message"] == "The requested deployment 'dp_nobody' does not exist"
    assert runtime.admin.patch("/deployments/dp_nobody", json={}).status_code == 404


def test_a_service_loses_handlers_only_when_that_is_wanted(
    runtime: Runtime, endpoint: SdkEndpoint, serve: Callable[[str], SdkEndpoint]
) -> None:
    runtime.register(endpoint.uri)
    smaller = serve(small("small"))

    refused = registered_as(runtime, smaller.uri)
    assert (refused.status_code, refused.json()["restate_code"]) == (409, "META0006")
    assert "would lose the handler" in refused.json()["message"]
    broken = registered_as(runtime, smaller.uri, breaking=True)

    assert broken.status_code == 201
    assert runtime.call("Greeter/greet", "Ann") == "Hello from small, Ann!"
    assert runtime.http.post("/Greeter/steps", json="x").status_code == 404


def test_the_version_before_serves_again_when_one_is_removed(
    runtime: Runtime, serve: Callable[[str], SdkEndpoint]
) -> None:
    first, second = serve(small("one")), serve(small("two"))
    runtime.register(first.uri)
    later = runtime.register(second.uri)
    assert runtime.call("Greeter/greet", "Ann") == "Hello from two, Ann!"

    assert runtime.admin.delete(f"/deployments/{later['id']}").status_code == 501
    removed = runtime.admin.delete(f"/deployments/{later['id']}?force=true")

    assert (removed.status_code, removed.content) == (202, b"")
    until(lambda: runtime.call("Greeter/greet", "Ann") == "Hello from one, Ann!")
    (left,) = runtime.admin.get("/deployments").json()["deployments"]
    assert left["latest_of"] == ["Greeter"]
    assert runtime.admin.get("/services/Greeter").json()["revision"] == 1
    # Registered again it is a new one, and the newest.
    again = runtime.register(second.uri)
    assert again["id"] != later["id"]
    assert again["services"][0]["revision"] == 3
    until(lambda: runtime.call("Greeter/greet", "Ann") == "Hello from two, Ann!")


def test_a_service_without_versions_is_gone(runtime: Runtime, endpoint: SdkEndpoint) -> None:
    only = runtime.register(endpoint.uri)
    runtime.call("Greeter/greet", "Ann")

    assert runtime.admin.delete(f"/deployments/{only['id']}?force=true").status_code == 202

    answer = until(
        lambda: (
            found
            if (found := runtime.http.post("/Greeter/greet", json="Ann")).status_code == 404
            else None
        )
    )
    assert "make sure to register the service" in answer.json()["message"]
    assert runtime.admin.get("/services").json() == {"services": []}
    assert runtime.http.get("/restate/health").json() == {"services": []}


async def test_what_a_removed_deployment_has_begun_is_moved(
    runtime: Runtime,
    endpoint: SdkEndpoint,
    serve: Callable[[str], SdkEndpoint],
    db: "asyncpg.Connection[Any]",
) -> None:
    first = runtime.register(endpoint.uri)
    waiting = runtime.send("Greeter/ask", "key")
    name = until(lambda: runtime.call("Counter/key/kept"))
    program = endpoint.program.read_text()
    second = serve(program)
    other = runtime.register(second.uri)

    runtime.admin.delete(f"/deployments/{first['id']}?force=true")
    # It wakes, and there is nobody to go on with it.
    runtime.admin.patch(f"/invocations/{waiting}/pause")
    runtime.admin.patch(f"/invocations/{waiting}/resume")
    failures = (
        "select array_agg(distinct error_code) from howdah.failures where message ~ 'removed'"
    )
    assert await engines.until(db, failures) == ["RT0011"]
    moved = until(
        lambda: (
            runtime.admin.patch(
                f"/invocations/{waiting}/resume?deployment={other['id']}"
            ).status_code
            == 200
        )
    )

    assert moved
    runtime.http.post(f"/restate/awakeables/{name}/resolve", json="yes")
    assert runtime.result(waiting) == "yes"


async def test_a_deployment_moves_with_what_it_has_begun(
    runtime: Runtime, endpoint: SdkEndpoint, serve: Callable[[str], SdkEndpoint]
) -> None:
    known = runtime.register(endpoint.uri)
    waiting = runtime.send("Greeter/ask", "key")
    name = until(lambda: runtime.call("Counter/key/kept"))
    other, different = serve(endpoint.program.read_text()), serve(small("other"))
    path = f"/deployments/{known['id']}"

    assert runtime.admin.patch(path, json={}).status_code == 200
    refused = runtime.admin.patch(path, json={"uri": different.uri})
    assert (refused.status_code, refused.json()["restate_code"]) == (409, "META0016")
    moved = runtime.admin.patch(
        path, json={"uri": other.uri, "additional_headers": {"x-team": "seats"}}
    )
    endpoint.kill()

    assert moved.status_code == 200, moved.text
    assert moved.json()["uri"] == f"{other.uri}/"
    assert moved.json()["additional_headers"] == {"x-team": "seats"}
    runtime.http.post(f"/restate/awakeables/{name}/resolve", json="yes")
    assert runtime.result(waiting) == "yes"


def test_an_operators_settings_hold_until_a_service_is_registered_again(
    runtime: Runtime, endpoint: SdkEndpoint
) -> None:
    runtime.register(endpoint.uri)
    patch = runtime.admin.patch

    changed = patch(
        "/services/Greeter",
        json={"public": False, "journal_retention": "2h", "inactivity_timeout": "PT5S"},
    )

    assert changed.status_code == 200
    assert {name: changed.json()[name] for name in ("public", "journal_retention")} == {
        "public": False, "journal_retention": "2h",
    }  # fmt: skip
    assert changed.json() == runtime.admin.get("/services/Greeter").json()
    assert changed.json()["inactivity_timeout"] == "5s"
    assert {one["journal_retention"] for one in changed.json()["handlers"]} == {"2h"}
    private = until(
        lambda: (
            found
            if (found := runtime.http.post("/Greeter/greet", json="x")).status_code == 400
            else None
        )
    )
    assert private.json()["message"] == "the invoked service is not public"
    unchanged = patch("/services/Greeter", json={"public": None}).json()
    assert unchanged["public"] is False
    taken_back = patch("/services/Greeter", json={"reset": ["public"]}).json()
    assert (taken_back["public"], taken_back["journal_retention"]) == (True, "2h")
    assert patch("/services/Nobody", json={}).status_code == 404
    wrong = patch("/services/Greeter", json={"workflow_completion_retention": "1d"})
    assert wrong.status_code == 400
    assert patch("/services/Greeter", json={"abort_timeout": "soon"}).status_code == 400
    assert patch("/services/Greeter", json={"reset": ["name"]}).status_code == 400

    runtime.register(endpoint.uri, force=True)
    assert runtime.admin.get("/services/Greeter").json()["journal_retention"] == "1d"


def test_settings_of_local_services_outlive_their_workers(servers: Servers, dsn: str) -> None:
    first = Runtime.of(servers.serve(dsn))
    first.admin.patch("/services/Echo", json={"public": False, "journal_retention": "2h"})
    first.server.stop()
    first.close()

    second = Runtime.of(servers.serve(dsn))
    echo = second.admin.get("/services/Echo").json()
    answer = second.http.post("/Echo/double", json=1)
    second.close()

    assert (echo["public"], echo["journal_retention"]) == (False, "2h")
    assert answer.json()["message"] == "the invoked service is not public"


def test_state_of_a_remote_object_is_replaced(runtime: Runtime, endpoint: SdkEndpoint) -> None:
    runtime.register(endpoint.uri)
    runtime.call("Counter/a/add", 1)

    body = {"object_key": "a", "new_state": {"total": list(b"41")}}
    assert runtime.admin.post("/services/Counter/state", json=body).status_code == 202

    assert runtime.call("Counter/a/add", 1) == 42


def test_the_command_line_registers_and_removes(
    runtime: Runtime, endpoint: SdkEndpoint, dsn: str
) -> None:
    admin = ("--admin", runtime.server.admin)

    tried = howdah("deployments", "register", endpoint.uri, "--dry-run", *admin)
    first = howdah("deployments", "register", endpoint.uri, "--header", "x-team=seats", *admin)
    again = howdah("deployments", "register", endpoint.uri, *admin)
    forced = howdah("deployments", "register", endpoint.uri, "--force", "--use-http1.1", *admin)
    refused = howdah("deployments", "register", "http://127.0.0.1:1", *admin)
    (listed,) = runtime.admin.get("/deployments").json()["deployments"]
    removed = howdah("deployments", "remove", listed["id"], "--yes", *admin)

    assert tried.stdout.startswith("It can be registered:\n  Counter (revision 1): add,")
    assert first.stdout.startswith(f"{listed['id']} is registered.\n")
    assert "is registered already; --force asks it anew" in again.stdout
    assert "(revision 2)" in forced.stdout
    assert listed["http_version"] == "HTTP/1.1"
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "[META0003]" in refused.stderr
    assert removed.stdout == f"{listed['id']} is removed.\n"
    assert runtime.admin.get("/deployments").json() == {"deployments": []}


def test_every_process_drives_and_keeps_out(
    servers: Servers, dsn: str, endpoint: SdkEndpoint
) -> None:
    closed = Runtime.of(servers.serve(dsn, "--roles", "ingress,admin"))
    refused = registered_as(closed, endpoint.uri)
    closed.close()
    opened = Runtime.of(servers.serve(dsn, "--processes", "2", **NEAR))
    opened.register(endpoint.uri)

    assert [opened.call("Greeter/double", n) for n in range(10)] == [2 * n for n in range(10)]
    opened.close()
    assert refused.json()["restate_code"] == "META0003"
    assert "HOWDAH_ENDPOINT_ALLOW" in refused.json()["message"]
