"""How invocations end whose endpoint says that an attempt failed."""

import asyncio

from howdah.remote.wire import Type
from support.engines import send
from support.speakers import Talk, driving, say, speaking


async def test_an_invocation_whose_attempts_are_used_up_ends_with_the_last_error(dsn: str) -> None:
    async def script(talk: Talk) -> None:
        await talk.start()
        talk.end(say(Type.ERROR, code=418 + talk.attempt, message=f"no tea {talk.attempt}"))

    async with speaking(script) as endpoint:
        endpoint.manifest["services"][0].update(
            retryPolicyMaxAttempts=2, retryPolicyOnMaxAttempts="KILL", retryPolicyInitialInterval=1
        )
        async with driving(dsn, endpoint) as engine:
            sent = await send(engine, "Speaker/speak")
            found = await asyncio.wait_for(engine.attach(sent.id), 20)

    assert (found.outcome, found.code, found.message) == ("killed", 420, "no tea 2")
