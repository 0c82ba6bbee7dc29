"""What was accepted goes on, whatever happens to the process that had it."""

import asyncio
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any, TypeAlias

import asyncpg
import pytest

from acceptance.services import ALL, counter, proxy
from acceptance.world import MODES, ingress
from howdah import Service, VirtualObject, Workflow
from howdah.worker.engine import Engine
from support.engines import (
    BOUND_SECONDS,
    assert_healthy,
    call,
    crash,
    result,
    running_engine,
    send,
    until,
)

Database: TypeAlias = "asyncpg.Connection[Any]"


@pytest.fixture(params=["default", "suspending", "replaying"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return MODES[request.param]


async def end(engine: Engine, db: Database, how: str) -> None:
    """End a process: killed, or in order."""
    if how == "killed":
        await crash(engine, db)
    else:
        await engine.drain()


async def outcome_value(engine: Engine, id_: Any) -> Any:
    outcome = await asyncio.wait_for(engine.attach(id_), BOUND_SECONDS)
    assert outcome.outcome == "succeeded", outcome
    return outcome.value


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_state_survives_a_process(
    dsn: str, db: Database, options: dict[str, Any], how: str
) -> None:
    headers = {"idempotency-key": "once"}
    async with running_engine(dsn, ALL, **options) as engine, ingress(engine) as http:
        first = await http.post("/Counter/k/add", json=1, headers=headers)
        await end(engine, db, how)
    async with running_engine(dsn, ALL, **options) as engine, ingress(engine) as http:
        again = await http.post("/Counter/k/add", json=1, headers=headers)
        second = await http.post("/Counter/k/add", json=2)

    assert first.json() == again.json() == {"old": 0, "new": 1}
    assert second.json() == {"old": 1, "new": 3}
    await assert_healthy(db)


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_sleep_survives_a_process_and_is_not_longer_for_it(
    dsn: str, db: Database, options: dict[str, Any], how: str
) -> None:
    began = monotonic()
    async with running_engine(dsn, ALL, **options) as engine:
        sent = await send(engine, "Steps/nap", 1500)
        await until(db, "select exists (select from howdah.journal where type = 'sleep')")
        await end(engine, db, how)
    async with running_engine(dsn, ALL, **options) as engine:
        await outcome_value(engine, sent.id)

    assert monotonic() - began >= 1.5
    assert await db.fetchval("select duration < '4 s' from howdah.journal where type = 'sleep'")
    await assert_healthy(db)


async def test_an_awakeable_of_an_earlier_process_is_resolved(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    async with running_engine(dsn, ALL, **options) as engine:
        sent = await send(engine, "Waiting/k/one")
        await until(db, "select value from howdah.state where service = 'Waiting'")
        (name,) = await result(engine, "Waiting/k/ids")
        await crash(engine, db)
    async with running_engine(dsn, ALL, **options) as engine, ingress(engine) as http:
        resolved = await http.post(f"/restate/awakeables/{name}/resolve", json="answer")
        assert resolved.status_code == 202
        assert await outcome_value(engine, sent.id) == b'"answer"'
    await assert_healthy(db)


async def test_no_accepted_answer_is_lost_while_processes_come_and_go(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    keys = [f"key-{number}" for number in range(30)]
    async with AsyncExitStack() as stack:

        async def another() -> Engine:
            return await stack.enter_async_context(running_engine(dsn, ALL, **options))

        stays, goes = await another(), await another()
        sent = [await send(goes, f"Waiting/{key}/one", idempotency_key=key) for key in keys]
        for number, key in enumerate(keys):
            if number % 10 == 5:
                await crash(goes, db)
                goes = await another()
            name = await until(
                db, "select value from howdah.state where service = 'Waiting' and key = $1", key
            )
            async with ingress(stays) as http:
                path = f"/restate/awakeables/{name[2:-2]}/resolve"
                assert (await http.post(path, json=f"resolved-{key}")).status_code == 202
        for key, accepted in zip(keys, sent, strict=True):
            assert await outcome_value(stays, accepted.id) == f'"resolved-{key}"'.encode()
            again = await call(goes, f"Waiting/{key}/one", idempotency_key=key)
            assert again.value == f'"resolved-{key}"'.encode()
    await assert_healthy(db)


async def test_a_call_to_a_service_that_is_not_there_yet_waits_for_it(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    wanted = {"service": "Counter", "key": "k", "handler": "add", "argument": "1"}
    early: list[Service | VirtualObject | Workflow] = [proxy]
    late: list[Service | VirtualObject | Workflow] = [counter]
    async with running_engine(dsn, early, **options) as engine:
        called = await send(engine, "Proxy/call", wanted, idempotency_key="a")
        sent = await send(engine, "Proxy/send", wanted)
        await until(db, "select count(distinct invocation_id) = 2 from howdah.failures")
        async with running_engine(dsn, late, **options):
            assert await outcome_value(engine, called.id)
            assert await outcome_value(engine, sent.id)
            again = await send(engine, "Proxy/call", wanted, idempotency_key="a")
            await until(db, "select count(*) = 0 from howdah_core.live")

        assert again.id == called.id
        assert not again.is_new
    assert await db.fetchval("select value from howdah.state where service = 'Counter'") == "2"
    await assert_healthy(db)
