"""Everything that a handler of the official SDK asks of its runtime, over each way of driving it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pytest_postgresql.executors import NoopExecutor

from support import postgres
from support.commands import until
from support.runtimes import NEAR, Runtime
from support.sdk_processes import SdkEndpoint
from support.servers import Servers

WAYS = {
    "streaming": ({}, {"HOWDAH_INACTIVITY_TIMEOUT": "1m"}),
    "streaming, suspended soon": ({}, {"HOWDAH_INACTIVITY_TIMEOUT": "50ms"}),
    "always suspended": ({}, {"HOWDAH_INACTIVITY_TIMEOUT": "0"}),
    "HTTP/1.1": ({"use_http_11": True}, {}),
    "few slots": ({}, {"HOWDAH_INACTIVITY_TIMEOUT": "1m", "HOWDAH_MAX_RESIDENT": "2"}),
}
"""How an endpoint is registered, and what the runtime's options are."""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkEndpoint]:
    """One endpoint for all."""
    started = SdkEndpoint(tmp_path_factory.mktemp("endpoint"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def way_dsn(postgres_server: postgres.Server, template_database: NoopExecutor) -> Iterator[str]:
    """A database for all tests of a way; as they all work on keys of their own, for all ways."""
    with asyncio.Runner() as runner:
        database = postgres.database(postgres_server, template_database.template_dbname)
        yield runner.run(database.__aenter__())
        runner.run(database.__aexit__(None, None, None))


@pytest.fixture(scope="module", params=list(WAYS))
def runtime(
    request: pytest.FixtureRequest,
    way_dsn: str,
    endpoint: SdkEndpoint,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Runtime]:
    """A runtime that drives the endpoint in one of the ways."""
    facts, environment = WAYS[request.param]
    servers = Servers(tmp_path_factory.mktemp("server"))
    started = Runtime.of(
        servers.serve(way_dsn, "--roles", "ingress,admin,worker", **NEAR, **environment)
    )
    started.register(endpoint.uri, force=True, **facts)
    yield started
    started.close()
    servers.end()


@pytest.fixture
def key() -> str:
    return uuid4().hex


@pytest.mark.parametrize(
    ("path", "argument", "expected"),
    [
        ("Greeter/greet", "Ann", "Hello Ann!"),
        ("Greeter/nothing", None, None),
        ("Greeter/steps", "a", ["a first", "a second"]),
        ("Greeter/nap", 0.05, "awake"),
        ("Greeter/sum_of", [1, 2, 3, 4], 20),
        ("Greeter/sum_of", list(range(40)), 1560),
        ("Greeter/catch", "tea", "418 tea"),
        ("Greeter/refused_step", "tea", "418 tea"),
        ("Greeter/call_by_name", ["Greeter", "greet", '"Bob"'], '"Hello Bob!"'),
    ],
)
def test_handlers_return(runtime: Runtime, path: str, argument: Any, expected: Any) -> None:
    assert runtime.call(path, argument) == expected


def test_bytes_are_passed_on_as_they_are(runtime: Runtime) -> None:
    content = bytes(range(256)) * 100
    headers = {"content-type": "application/octet-stream"}

    answer = runtime.http.post("/Greeter/bytes_back", content=content, headers=headers)

    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == "application/octet-stream"


def test_handlers_see_the_headers_of_the_request(runtime: Runtime) -> None:
    seen = runtime.call("Greeter/headers_of", **{"x-colour": "blue"})

    assert (seen["x-colour"], seen["x-restate-ingress-path"]) == ("blue", "/Greeter/headers_of")


def test_refusals_reach_the_caller(runtime: Runtime) -> None:
    refused = runtime.http.post("/Greeter/refuse", json="no tea")

    assert refused.status_code == 418
    assert refused.json() == {"code": 418, "message": "no tea", "source": "invocation"}


def test_a_step_is_executed_once(runtime: Runtime, endpoint: SdkEndpoint, key: str) -> None:
    runtime.call("Greeter/steps", key)

    assert [line for line in endpoint.executed() if key in line] == [
        f"{key} first",
        f"{key} second",
    ]


def test_an_attempt_that_fails_is_tried_again(
    runtime: Runtime, endpoint: SdkEndpoint, key: str
) -> None:
    assert runtime.call("Greeter/fail", {"name": key, "until": 3}) == "attempt 3"
    assert endpoint.executed().count(f"fail {key}") == 3


def test_attempts_end_where_the_policy_says(runtime: Runtime, key: str) -> None:
    killed = runtime.http.post("/Greeter/fail", json={"name": key, "until": 9})

    assert killed.status_code == 500
    assert killed.json()["message"] == "ValueError('attempt 3')"


def test_state_is_kept(runtime: Runtime, key: str) -> None:
    assert runtime.call(f"Counter/{key}/total") == 0
    assert runtime.call(f"Counter/{key}/add", 2) == 2
    assert runtime.call(f"Counter/{key}/add_slowly", 3) == 5
    assert runtime.call(f"Counter/{key}/total") == 5
    assert runtime.call(f"Counter/{key}/lazily") == [5, ["total"]]
    assert runtime.call(f"Counter/{key}/names") == ["one", "total", "two"]
    assert runtime.call(f"Counter/{key}/lazily") == [5, ["total", "two"]]
    runtime.call(f"Counter/{key}/clear")
    assert runtime.call(f"Counter/{key}/lazily") == [None, []]


def test_a_key_has_one_writer(runtime: Runtime, key: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        totals = list(threads.map(lambda _: runtime.call(f"Counter/{key}/add_slowly", 1), range(8)))

    assert sorted(totals) == list(range(1, 9))


def test_calls_and_sends_reach_objects(runtime: Runtime, key: str) -> None:
    assert runtime.call("Greeter/count_for", key) == 6
    until(lambda: runtime.call(f"Counter/{key}/total") == 7)


def test_a_call_with_an_idempotency_key_is_one(runtime: Runtime, key: str) -> None:
    assert runtime.call("Greeter/call_once", key) == [1, 1]
    assert runtime.call("Greeter/call_once", key) == [1, 1]
    assert runtime.call(f"Counter/{key}/total") == 1


def test_a_request_with_an_idempotency_key_is_one(runtime: Runtime, key: str) -> None:
    first = runtime.http.post(f"/Counter/{key}/add", json=1, headers={"idempotency-key": key})
    second = runtime.http.post(f"/Counter/{key}/add", json=1, headers={"idempotency-key": key})

    assert (first.json(), second.json()) == (1, 1)
    assert first.headers["x-restate-id"] == second.headers["x-restate-id"]


def test_an_awakeable_is_resolved_from_outside(runtime: Runtime, key: str) -> None:
    waiting = runtime.send("Greeter/ask", key)
    name = until(lambda: runtime.call(f"Counter/{key}/kept"))

    resolved = runtime.http.post(f"/restate/awakeables/{name}/resolve", json="yes")

    assert resolved.status_code == 202
    assert runtime.result(waiting) == "yes"


def test_an_awakeable_is_rejected_from_outside(runtime: Runtime, key: str) -> None:
    waiting = runtime.send("Greeter/ask", key)
    name = until(lambda: runtime.call(f"Counter/{key}/kept"))

    runtime.http.post(f"/restate/awakeables/{name}/reject", content=b"too dear")

    refused = runtime.http.get(f"/restate/attach/{waiting}")
    assert (refused.status_code, refused.json()["message"]) == (500, "too dear")


@pytest.mark.parametrize(("answer", "status"), [({"value": "yes"}, 200), ({"error": "no"}, 500)])
def test_an_awakeable_is_answered_by_a_handler(
    runtime: Runtime, key: str, answer: dict[str, str], status: int
) -> None:
    waiting = runtime.send("Greeter/ask", key)
    name = until(lambda: runtime.call(f"Counter/{key}/kept"))

    runtime.call("Greeter/answer_to", {"id": name, **answer})

    answered = runtime.http.get(f"/restate/attach/{waiting}")
    assert answered.status_code == status
    assert answered.json() == "yes" if status == 200 else answered.json()["message"] == "no"


def test_a_race_is_won_by_whoever_comes_first(runtime: Runtime, key: str) -> None:
    late = runtime.send("Greeter/race", {"key": f"{key}-late", "seconds": 0.1})
    won = runtime.send("Greeter/race", {"key": f"{key}-won", "seconds": 60})
    name = until(lambda: runtime.call(f"Counter/{key}-won/kept"))

    runtime.http.post(f"/restate/awakeables/{name}/resolve", json="first")

    assert runtime.result(late) == "too late"
    assert runtime.result(won) == "first"


def test_a_signal_is_received(runtime: Runtime, key: str) -> None:
    waiting = runtime.send("Greeter/await_signal", "go")

    runtime.call("Greeter/send_signal", {"id": waiting, "name": "other", "value": "not this"})
    runtime.call("Greeter/send_signal", {"id": waiting, "name": "go", "value": "now"})

    assert runtime.result(waiting) == "now"


def test_a_workflow_runs_once_and_keeps_promises(runtime: Runtime, key: str) -> None:
    first = runtime.send(f"Signup/{key}/run", "joe@example.com")
    until(lambda: runtime.call(f"Signup/{key}/email") == "joe@example.com")
    again = runtime.http.post(f"/Signup/{key}/run", json="joe@example.com")

    assert (again.status_code, again.json()["message"]) == (
        409, "the workflow method was already invoked"
    )  # fmt: skip
    assert runtime.call(f"Signup/{key}/verify", "1234") == "yes"
    assert runtime.result(first) == "joe@example.com None 1234"
    second = runtime.http.post(f"/Signup/{key}/reject", json="late")
    assert (second.status_code, second.json()["message"]) == (409, "promise was already completed")
    assert runtime.http.get(f"/restate/workflow/Signup/{key}/attach").json() == (
        "joe@example.com None 1234"
    )


def test_a_rejected_promise_fails_who_waits(runtime: Runtime, key: str) -> None:
    first = runtime.send(f"Signup/{key}/run", "joe@example.com")
    runtime.call(f"Signup/{key}/reject", "no code")

    refused = runtime.http.get(f"/restate/attach/{first}")
    assert refused.json()["message"] == "no code"


def test_an_invocation_is_attached_to(runtime: Runtime, key: str) -> None:
    waiting = runtime.send("Greeter/ask", key)
    attached = runtime.send("Greeter/attach", waiting)
    name = until(lambda: runtime.call(f"Counter/{key}/kept"))

    runtime.http.post(f"/restate/awakeables/{name}/resolve", json="yes")

    assert runtime.result(attached) == "yes"


@pytest.mark.parametrize("by_handler", [True, False])
def test_a_cancelled_invocation_undoes(runtime: Runtime, key: str, by_handler: bool) -> None:
    parent = runtime.send("Greeter/ask_by_call", key)
    until(lambda: runtime.call(f"Counter/{key}/kept"))

    if by_handler:
        runtime.call("Greeter/cancel", parent)
    else:
        assert runtime.admin.patch(f"/invocations/{parent}/cancel").status_code in (200, 202)

    cancelled = runtime.http.get(f"/restate/attach/{parent}")
    assert (cancelled.status_code, cancelled.json()["message"]) == (409, "cancelled")
    until(lambda: runtime.call(f"Counter/{key}/kept") == "undone")


def test_random_numbers_are_the_same_in_all_attempts(runtime: Runtime) -> None:
    number, text, has_time = runtime.call("Greeter/drawn")

    assert (0 <= number < 1, len(text), has_time) == (True, 36, True)
    assert runtime.call("Greeter/drawn")[:2] != [number, text]


def test_a_killed_invocation_takes_its_callees_along(runtime: Runtime, key: str) -> None:
    parent = runtime.send("Greeter/ask_by_call", key)
    until(lambda: runtime.call(f"Counter/{key}/kept"))

    assert runtime.admin.patch(f"/invocations/{parent}/kill").status_code == 200

    killed = runtime.http.get(f"/restate/attach/{parent}")
    assert (killed.status_code, killed.json()["message"]) == (409, "killed")


def test_an_invocation_is_paused_and_resumed(runtime: Runtime, key: str) -> None:
    waiting = runtime.send("Greeter/ask", key)
    name = until(lambda: runtime.call(f"Counter/{key}/kept"))

    until(lambda: runtime.admin.patch(f"/invocations/{waiting}/pause").status_code == 200)
    runtime.http.post(f"/restate/awakeables/{name}/resolve", json="yes")
    assert runtime.admin.patch(f"/invocations/{waiting}/resume").status_code == 200

    assert runtime.result(waiting) == "yes"


def test_a_completed_invocation_is_restarted(runtime: Runtime, endpoint: SdkEndpoint) -> None:
    name = uuid4().hex
    first = runtime.send("Greeter/steps", name)
    runtime.result(first)

    again = runtime.admin.patch(f"/invocations/{first}/restart-as-new?from=2")

    assert again.status_code == 200, again.text
    second = again.json()["new_invocation_id"]
    assert runtime.result(second) == [f"{name} first", f"{name} second"]
    # The first step was taken over with its result, the second executed again.
    assert [line for line in endpoint.executed() if name in line] == [
        f"{name} first", f"{name} second", f"{name} second",
    ]  # fmt: skip


async def test_nothing_is_broken(runtime: Runtime, way_dsn: str) -> None:
    """The last of each way."""
    connection = await asyncpg.connect(way_dsn)
    try:
        async with asyncio.timeout(20):
            busy = "select count(*) from howdah.invocations where status in ('running', 'ready')"
            while await connection.fetchval(busy):
                await asyncio.sleep(0.05)
        rows = await connection.fetch("select * from howdah.check()")
        journal = await connection.fetch(
            "select distinct type from howdah.journal where name is not null or target is not null"
        )
    finally:
        await connection.close()
    assert rows == [], [tuple(row) for row in rows]
    assert {"input", "run", "call", "send", "signal", "run completed"} <= {r[0] for r in journal}
