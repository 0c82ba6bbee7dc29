"""What clients over HTTP rely on."""

import asyncio
import os

import pytest

from acceptance.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_header_reaches_the_handler_unchanged(world: World) -> None:
    answer = await world.http.post("/Proxy/headers", headers={"x-my-header": "x-my-value"})

    assert answer.json()["x-my-header"] == "x-my-value"


async def test_bytes_are_passed_through_unchanged(world: World) -> None:
    body = os.urandom(100).lower()
    headers = {"content-type": "application/octet-stream"}

    answer = await world.http.post("/Proxy/upper", content=body, headers=headers)

    assert answer.content == body.upper()


async def test_an_idempotency_key_is_good_until_it_expires(world: World, key: str) -> None:
    headers = {"idempotency-key": "a"}

    async def add() -> object:
        answer = await world.http.post(f"/Counter/{key}/add_forgetfully", json=2, headers=headers)
        return answer.json()

    first, again = await add(), await add()
    async with asyncio.timeout(20):
        while (later := await add()) == first:
            await asyncio.sleep(0.1)

    assert first == again == {"old": 0, "new": 2}
    assert later == {"old": 2, "new": 4}
    assert await world.call(f"Counter/{key}/total") == 4


async def test_a_service_without_keys_has_idempotency_keys_as_well(world: World, key: str) -> None:
    headers = {"idempotency-key": key}

    first = await world.http.post("/Proxy/count_effect", json=key, headers=headers)
    again = await world.http.post("/Proxy/count_effect", json=key, headers=headers)

    assert first.json() == again.json() == await world.executed(key) == 1


async def test_sends_with_one_key_are_accepted_once(world: World, key: str) -> None:
    headers = {"idempotency-key": key}

    answers = [
        (await world.http.post(f"/Counter/{key}/add/send", json=2, headers=headers)).json()
        for _ in range(2)
    ]
    await world.attach(answers[0]["invocationId"])

    assert [answer["status"] for answer in answers] == ["Accepted", "PreviouslyAccepted"]
    assert answers[0]["invocationId"] == answers[1]["invocationId"]
    assert await world.call(f"Counter/{key}/total") == 2


async def test_an_invocation_is_found_by_its_idempotency_key(world: World, key: str) -> None:
    headers = {"idempotency-key": "a"}
    await world.http.post(f"/Waiting/{key}/one/send", headers=headers)
    (name,) = await world.eventually(f"Waiting/{key}/ids")
    path = f"/restate/invocation/Waiting/{key}/one/a"

    attached = asyncio.ensure_future(world.http.get(f"{path}/attach"))
    early = await world.http.get(f"{path}/output")
    await world.complete_awakeable(name, "answer")

    assert early.status_code == 470
    assert (await attached).json() == "answer"
    assert (await world.http.get(f"{path}/output")).json() == "answer"


async def test_a_private_service_is_for_handlers_only(world: World) -> None:
    answer = await world.http.post("/Hidden/secret")
    wanted = {"service": "Hidden", "handler": "secret", "argument": ""}

    assert answer.status_code == 400
    assert await world.call("Proxy/call", wanted) == '"secret"'
