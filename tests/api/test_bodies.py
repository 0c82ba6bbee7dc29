import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from howdah_api.ingress.bodies import BodyTooLarge, Intake
from howdah_api.problems import ClientLeft, Problem

Message = dict[str, Any]


def part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def receiving(*messages: Message) -> Callable[[], Coroutine[Any, Any, Message]]:
    queue = list(messages)

    async def receive() -> Message:
        if not queue:
            await asyncio.Event().wait()
        return queue.pop(0)

    return receive


async def test_a_body_in_parts_is_joined() -> None:
    intake = Intake(receiving(part(b"a", more=True), part(b"", more=True), part(b"b", more=False)))

    assert await intake.read(10) == b"ab"
    assert intake.is_finished


async def test_a_body_over_its_limit_is_refused_while_it_is_read() -> None:
    intake = Intake(receiving(part(b"abc", more=True), part(b"def", more=True)))

    with pytest.raises(BodyTooLarge):
        await intake.read(5)
    assert not intake.is_finished


async def test_a_body_that_stalls_is_a_timeout() -> None:
    intake = Intake(receiving(part(b"abc", more=True)), silence_seconds=0.05)

    with pytest.raises(Problem) as caught:
        await intake.read(100)
    assert caught.value.status == 408


async def test_a_client_that_leaves_within_the_body_is_noticed() -> None:
    intake = Intake(receiving(part(b"abc", more=True), {"type": "http.disconnect"}))

    with pytest.raises(ClientLeft):
        await intake.read(100)
    assert intake.is_finished


async def test_the_rest_of_a_refused_body_is_taken_off_the_connection() -> None:
    intake = Intake(receiving(part(b"abc", more=True), part(b"def", more=False)))

    await intake.discard()

    assert intake.is_finished
