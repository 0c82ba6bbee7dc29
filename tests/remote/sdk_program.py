"""Services of the official SDK, for tests: everything an endpoint can ask of a runtime.

Run by `support.sdk_processes`. The folder that WITNESS names gets a line for each execution of a step.
"""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import restate
from restate.serde import BytesSerde

WITNESS = Path(os.environ.get("WITNESS", "/dev/null"))

greeter = restate.Service("Greeter")
counter = restate.VirtualObject("Counter")
signup = restate.Workflow("Signup")


def executed(what: str) -> str:
    with WITNESS.open("a") as lines:
        lines.write(f"{what}\n")
    return what


@greeter.handler()
async def greet(ctx: restate.Context, name: str) -> str:
    """Greets."""
    return f"Hello {name}!"


@greeter.handler()
async def nothing(ctx: restate.Context) -> None:
    """Takes and gives nothing."""


@greeter.handler(
    accept="*/*",
    content_type="application/octet-stream",
    input_serde=BytesSerde(),
    output_serde=BytesSerde(),
)
async def bytes_back(ctx: restate.Context, name: bytes) -> bytes:
    return name


@greeter.handler()
async def steps(ctx: restate.Context, name: str) -> list[str]:
    first = await ctx.run_typed("first", executed, what=f"{name} first")
    await ctx.sleep(timedelta(milliseconds=50))
    second = await ctx.run_typed("second", executed, what=f"{name} second")
    return [first, second]


@greeter.handler()
async def slow_step(ctx: restate.Context, request: dict[str, Any]) -> str:
    async def work() -> str:
        executed(f"{request['name']} begins")
        await asyncio.sleep(request["seconds"])
        return executed(f"{request['name']} ends")

    return await ctx.run_typed("slow", work)


@greeter.handler()
async def slowly(ctx: restate.Context, request: dict[str, Any]) -> str:
    """Two steps that take a while, with a timer and a call between them."""
    name, seconds = request["name"], request["seconds"]

    async def step(number: int) -> str:
        await asyncio.sleep(seconds)
        return executed(f"{name} {number}")

    await ctx.run_typed("one", step, number=1)
    await ctx.sleep(timedelta(seconds=seconds))
    await ctx.object_call(add, request["key"], 1)
    await ctx.run_typed("two", step, number=2)
    return f"{name} done"


@greeter.handler()
async def nap(ctx: restate.Context, seconds: float) -> str:
    await ctx.sleep(timedelta(seconds=seconds))
    return "awake"


@greeter.handler()
async def sum_of(ctx: restate.Context, numbers: list[int]) -> int:
    calls = [ctx.service_call(double, n) for n in numbers]
    return sum([await call for call in calls])


@greeter.handler()
async def double(ctx: restate.Context, number: int) -> int:
    return 2 * number


@greeter.handler()
async def count_for(ctx: restate.Context, key: str) -> int:
    ctx.object_send(add, key, 1)
    ctx.object_send(add, key, 1, send_delay=timedelta(milliseconds=50))
    return await ctx.object_call(add, key, 5)


@greeter.handler()
async def call_once(ctx: restate.Context, key: str) -> list[int]:
    first = ctx.object_call(add, key, 1, idempotency_key="once")
    second = ctx.object_call(add, key, 1, idempotency_key="once")
    return [await first, await second]


@greeter.handler()
async def refuse(ctx: restate.Context, reason: str) -> None:
    raise restate.TerminalError(reason, status_code=418)


@greeter.handler()
async def catch(ctx: restate.Context, reason: str) -> str:
    try:
        await ctx.service_call(refuse, reason)
    except restate.TerminalError as error:
        return f"{error.status_code} {error.message}"
    return "no error"


@greeter.handler()
async def refused_step(ctx: restate.Context, reason: str) -> str:
    def step() -> None:
        raise restate.TerminalError(reason, status_code=418)

    try:
        await ctx.run_typed("step", step)
    except restate.TerminalError as error:
        return f"{error.status_code} {error.message}"
    return "no error"


@greeter.handler(
    invocation_retry_policy=restate.InvocationRetryPolicy(
        initial_interval=timedelta(milliseconds=10), max_attempts=3, on_max_attempts="kill"
    )
)
async def fail(ctx: restate.Context, request: dict[str, Any]) -> str:
    what = f"fail {request['name']}"
    lines = WITNESS.read_text().splitlines() if WITNESS.exists() else []
    count = lines.count(what) + 1
    executed(what)
    if count < request["until"]:
        raise ValueError(f"attempt {count}")
    return f"attempt {count}"


@greeter.handler()
async def ask(ctx: restate.Context, key: str) -> str:
    """Waits for an awakeable whose id it leaves with a counter."""
    name, answer = ctx.awakeable(type_hint=str)
    ctx.object_send(keep, key, name)
    return await answer


@greeter.handler()
async def ask_by_call(ctx: restate.Context, key: str) -> str:
    try:
        return await ctx.service_call(ask, key)
    except restate.TerminalError:
        await ctx.object_call(keep, key, "undone")
        raise


@greeter.handler()
async def answer_to(ctx: restate.Context, request: dict[str, str]) -> None:
    if "error" in request:
        ctx.reject_awakeable(request["id"], request["error"])
    else:
        ctx.resolve_awakeable(request["id"], request["value"])


@greeter.handler()
async def await_signal(ctx: restate.Context, name: str) -> str:
    return await ctx.signal(name, type_hint=str)


@greeter.handler()
async def send_signal(ctx: restate.Context, request: dict[str, str]) -> None:
    ctx.resolve_signal(request["id"], request["name"], request["value"])


@greeter.handler()
async def attach(ctx: restate.Context, invocation_id: str) -> str:
    return await ctx.attach_invocation(invocation_id, type_hint=str)


@greeter.handler()
async def cancel(ctx: restate.Context, invocation_id: str) -> None:
    ctx.cancel_invocation(invocation_id)


@greeter.handler()
async def race(ctx: restate.Context, request: dict[str, Any]) -> str:
    name, answer = ctx.awakeable(type_hint=str)
    ctx.object_send(keep, request["key"], name)
    timeout = ctx.sleep(timedelta(seconds=request["seconds"]))
    match await restate.select(answer=answer, timeout=timeout):
        case ["answer", value]:
            return str(value)
        case _:
            return "too late"


@greeter.handler()
async def everything(ctx: restate.Context, key: str) -> list[Any]:
    """A step, a timer, calls and sends of each kind, an awakeable, a signal to itself."""
    first = await ctx.run_typed("first", executed, what="first")
    await ctx.sleep(timedelta(milliseconds=20))
    ctx.object_send(add, key, 10)
    called = await ctx.object_call(add, key, 1)
    once = await ctx.object_call(add, key, 1, idempotency_key="once")
    name, answer = ctx.awakeable(type_hint=str)
    ctx.service_send(answer_to, {"id": name, "value": "yes"})
    answered = await answer
    ctx.resolve_signal(ctx.request().id, "go", "now")
    signalled = await ctx.signal("go", type_hint=str)
    second = await ctx.run_typed("second", executed, what="second")
    return [first, called, once, answered, signalled, second]


@greeter.handler()
async def drawn(ctx: restate.Context) -> list[Any]:
    first = [ctx.random().random(), str(ctx.uuid())]
    await ctx.sleep(timedelta(milliseconds=20))
    return [*first, await ctx.time() > 0]


@greeter.handler()
async def headers_of(ctx: restate.Context) -> dict[str, str]:
    return ctx.request().headers


@greeter.handler()
async def call_by_name(ctx: restate.Context, target: list[str]) -> str:
    service, handler, argument = target
    answer = await ctx.generic_call(service, handler, argument.encode())
    return answer.decode()


@counter.handler()
async def add(ctx: restate.ObjectContext, number: int) -> int:
    total = (await ctx.get("total", type_hint=int) or 0) + number
    ctx.set("total", total)
    return total


@counter.handler()
async def add_slowly(ctx: restate.ObjectContext, number: int) -> int:
    total = (await ctx.get("total", type_hint=int) or 0) + number
    await ctx.sleep(timedelta(milliseconds=20))
    ctx.set("total", total)
    return total


@counter.handler(kind="shared")
async def total(ctx: restate.ObjectSharedContext) -> int:
    return await ctx.get("total", type_hint=int) or 0


@counter.handler()
async def keep(ctx: restate.ObjectContext, text: str) -> None:
    ctx.set("text", text)


@counter.handler(kind="shared")
async def kept(ctx: restate.ObjectSharedContext) -> str | None:
    return await ctx.get("text", type_hint=str)


@counter.handler()
async def names(ctx: restate.ObjectContext) -> list[str]:
    ctx.set("one", 1)
    ctx.set("two", 2)
    found = sorted(await ctx.state_keys())
    ctx.clear("one")
    return found


@counter.handler()
async def clear(ctx: restate.ObjectContext) -> None:
    ctx.clear_all()


@counter.handler(enable_lazy_state=True)
async def lazily(ctx: restate.ObjectContext) -> list[Any]:
    return [await ctx.get("total", type_hint=int), sorted(await ctx.state_keys())]


@signup.main()
async def run(ctx: restate.WorkflowContext, email: str) -> str:
    ctx.set("email", email)
    promise = ctx.promise("code", type_hint=str)
    peeked = await promise.peek()
    code = await promise.value()
    ctx.set("code", code)
    await ctx.promise("done", type_hint=str).resolve("yes")
    return f"{email} {peeked} {code}"


@signup.handler()
async def verify(ctx: restate.WorkflowSharedContext, code: str) -> str:
    await ctx.promise("code", type_hint=str).resolve(code)
    return await ctx.promise("done", type_hint=str).value()


@signup.handler()
async def reject(ctx: restate.WorkflowSharedContext, reason: str) -> None:
    await ctx.promise("code", type_hint=str).reject(reason)


@signup.handler()
async def email(ctx: restate.WorkflowSharedContext) -> str | None:
    return await ctx.get("email", type_hint=str)


app = restate.app([greeter, counter, signup])
