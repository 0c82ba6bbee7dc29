"""`create_test_harness`: what tests of SDK programs are written with."""

import logging
from datetime import timedelta
from typing import Any

import httpx
import pytest

import howdah.restate as restate
from compat.programs import counter, fan_out, greeter
from howdah.errors import UsageError

CODEC: Any = object()


@pytest.mark.parametrize("always_replay", [False, True])
async def test_a_harness_serves_an_app(always_replay: bool) -> None:
    app = restate.app([counter.counter, fan_out.workers])
    async with restate.create_test_harness(app, always_replay=always_replay) as harness:
        await harness.client.object_call(counter.increment, key="a", arg=5)
        await harness.client.object_call(counter.increment, key="a", arg=5)
        assert await harness.client.object_call(counter.count, key="a", arg=None) == 10
        sent = await harness.client.object_send(counter.increment, key="b", arg=-10)
        counted = await harness.client.service_call(fan_out.run, arg=fan_out.Task(words=["one"]))
        async with httpx.AsyncClient(trust_env=False) as http:
            url = f"{harness.ingress_url}/restate/invocation/{sent.invocation_id}/attach"
            attached = await http.get(url)
            health = await http.get(f"{harness.admin_api_url}/health")

    assert counted == {"one": 3}
    assert (attached.status_code, attached.json()) == (200, -10)
    assert health.status_code == 200


async def test_harnesses_share_nothing() -> None:
    app = restate.app([counter.counter])
    for _ in range(2):
        async with restate.create_test_harness(app) as harness:
            assert await harness.client.object_call(counter.increment, key="a", arg=1) == 1


async def test_without_retries_a_failure_is_final() -> None:
    flaky = restate.Service("Flaky")
    attempts: list[str] = []

    @flaky.handler()
    async def breaks(ctx: restate.Context) -> None:
        attempts.append("breaks")
        raise ValueError("broken")

    @flaky.handler(
        invocation_retry_policy=restate.InvocationRetryPolicy(
            max_attempts=2, initial_interval=timedelta(milliseconds=1), on_max_attempts="kill"
        )
    )
    async def breaks_twice(ctx: restate.Context) -> None:
        attempts.append("breaks twice")
        raise ValueError("broken")

    async with restate.create_test_harness(restate.app([flaky]), disable_retries=True) as harness:
        for handler in (breaks, breaks_twice):
            with pytest.raises(restate.HttpError):
                await harness.client.service_call(handler, arg=None)

    assert attempts == ["breaks", "breaks twice", "breaks twice"]
    assert flaky.handlers["breaks"].retry_policy.max_attempts == 70


async def test_logs_are_followed_while_it_serves(capfd: pytest.CaptureFixture[str]) -> None:
    app = restate.app([greeter.greeter])
    before = list(logging.getLogger("howdah").handlers)
    async with restate.create_test_harness(app, follow_logs=True):
        pass

    assert "worker started" in capfd.readouterr().err
    assert logging.getLogger("howdah").handlers == before


async def test_a_harness_refuses_what_it_cannot_serve() -> None:
    with pytest.raises(UsageError, match=r"restate\.app"):
        async with restate.create_test_harness([greeter.greeter]):
            pass
    with pytest.raises(UsageError, match="journal_value_codec"):
        async with restate.create_test_harness(
            restate.app([greeter.greeter]), journal_value_codec=CODEC
        ):
            pass
