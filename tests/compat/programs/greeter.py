"""A service: models, steps, other handlers, what is the same on every replay."""

import random
import typing
import uuid
from datetime import timedelta

from pydantic import BaseModel

import howdah.restate as restate
from howdah.restate import Context, RunOptions, Service, TerminalError
from howdah.restate.exceptions import RetryableError
from howdah.restate.serde import BytesSerde, JsonSerde

greeter = Service("Greeter", description="Greets.", metadata={"team": "front"})


class GreetingRequest(BaseModel):
    name: str


class Greeting(BaseModel):
    message: str
    lucky: int


class Person(typing.TypedDict):
    name: str
    friends: list[str]


tries: dict[str, int] = {}


@greeter.handler()
async def greet(ctx: Context, req: GreetingRequest) -> Greeting:
    async def draw() -> int:
        return random.randint(1, 6)

    lucky = await ctx.run_typed("draw", draw)
    assert lucky == await ctx.run("again", lambda: lucky)
    return Greeting(message=f"Hello {req.name}!", lucky=lucky)


@greeter.handler(name="introduce")
async def introduce_everybody(ctx: Context, person: Person) -> list[str]:
    calls = [ctx.service_call(greet, arg=GreetingRequest(name=name)) for name in person["friends"]]
    await restate.gather(*calls)
    return [(await call).message for call in calls]


@greeter.handler()
async def identity(ctx: Context) -> dict[str, typing.Any]:
    first = ctx.uuid()
    assert isinstance(first, uuid.UUID)
    number = ctx.random().random()
    now = await ctx.time()
    await ctx.sleep(timedelta(milliseconds=5), name="a moment")
    request = ctx.request()
    return {
        "id": request.id,
        "uuid": str(first),
        "number": number,
        "now": now,
        "header": request.headers.get("x-who"),
        "attempt_headers": request.attempt_headers,
        "key": request.idempotency_key,
        "scope": request.scope,
        "limit_key": request.limit_key,
        "is_over": request.attempt_finished_event.is_set(),
    }


@greeter.handler(input_serde=BytesSerde(), output_serde=BytesSerde())
async def shout(ctx: Context, data: bytes) -> bytes:
    return data.upper()


@greeter.handler()
async def forward(ctx: Context, text: str) -> str:
    return (await ctx.generic_call("Greeter", "shout", arg=text.encode())).decode()


@greeter.handler(
    invocation_retry_policy=restate.InvocationRetryPolicy(
        initial_interval=timedelta(milliseconds=1), max_attempts=5, on_max_attempts="kill"
    )
)
async def stumbles(ctx: Context, name: str) -> int:
    tries[name] = tries.get(name, 0) + 1
    if tries[name] < 3:
        raise RetryableError("not yet", status_code=503, retry_after=timedelta(milliseconds=1))
    return tries[name]


@greeter.handler()
async def refuses(ctx: Context, name: str) -> str:
    raise TerminalError(f"no greeting for {name}", status_code=403, metadata={"name": name})


@greeter.handler()
async def wraps_a_refusal(ctx: Context, name: str) -> str:
    try:
        return await ctx.service_call(refuses, arg=name)
    except TerminalError as error:
        raise RuntimeError("a framework in between wraps what it should let pass") from error


@greeter.handler()
async def gives_up(ctx: Context) -> list[typing.Any]:
    def broken() -> None:
        raise ValueError("out of order")

    options = RunOptions[None](
        max_attempts=2, initial_retry_interval=timedelta(milliseconds=1), serde=JsonSerde()
    )
    try:
        await ctx.run_typed("broken", broken, options)
    except TerminalError as error:
        return [error.status_code, error.message]
    return []


app = restate.app(services=[greeter])
