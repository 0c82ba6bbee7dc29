"""The services of the acceptance tests, written with the official Python SDK.

What each does is described in `acceptance.services`, whose names and handlers these are; what is
the tests' own of this SDK comes at the end.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, TypeVar

from restate import (
    Context,
    InvocationRetryPolicy,
    ObjectContext,
    ObjectSharedContext,
    RestateDurableFuture,
    RunOptions,
    Service,
    TerminalError,
    VirtualObject,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
    gather,
    select,
    wait_completed,
)
from restate.serde import BytesSerde

from acceptance.effects import effects

T = TypeVar("T")

FAST = InvocationRetryPolicy(initial_interval=timedelta(milliseconds=1))
ONCE = InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=1), max_attempts=1, on_max_attempts="kill"
)
PAUSING = InvocationRetryPolicy(initial_interval=timedelta(milliseconds=1), max_attempts=3)
IN_VAIN = timedelta(hours=1)

counter = VirtualObject("Counter", invocation_retry_policy=FAST)
names = VirtualObject("Names", invocation_retry_policy=FAST)
proxy = Service("Proxy", invocation_retry_policy=FAST)
hidden = Service("Hidden", ingress_private=True)
ordering = Service("Ordering", invocation_retry_policy=FAST)
lock = VirtualObject("Lock", invocation_retry_policy=FAST)
runner = VirtualObject("Runner", invocation_retry_policy=FAST)
tree = VirtualObject("Tree", invocation_retry_policy=FAST)
waiting = VirtualObject("Waiting", invocation_retry_policy=FAST)
signals = Service("Signals", invocation_retry_policy=FAST)
steps = Service("Steps", invocation_retry_policy=FAST)
failing = VirtualObject("Failing", invocation_retry_policy=FAST)
changing = VirtualObject("Changing", invocation_retry_policy=ONCE)
block = Workflow("Block", invocation_retry_policy=FAST)


# Objects with state.


async def _add(ctx: ObjectContext, number: int) -> dict[str, int]:
    old = await ctx.get("total", type_hint=int) or 0
    effects[ctx.key()] += 1
    ctx.set("total", old + number)
    return {"old": old, "new": old + number}


@counter.handler()
async def add(ctx: ObjectContext, number: int) -> dict[str, int]:
    return await _add(ctx, number)


@counter.handler(idempotency_retention=timedelta(seconds=1))
async def add_forgetfully(ctx: ObjectContext, number: int) -> dict[str, int]:
    return await _add(ctx, number)


@counter.handler(kind="shared")
async def total(ctx: ObjectSharedContext) -> int:
    return await ctx.get("total", type_hint=int) or 0


@counter.handler()
async def add_then_fail(ctx: ObjectContext, message: str) -> None:
    ctx.set("total", (await ctx.get("total", type_hint=int) or 0) + 1)
    raise TerminalError(message)


@names.handler()
async def append(ctx: ObjectContext, name: str) -> None:
    ctx.set("all", [*(await ctx.get("all", type_hint=list) or []), name])


@names.handler(kind="shared")
async def listed(ctx: ObjectSharedContext) -> list[str]:
    return await ctx.get("all", type_hint=list) or []


@names.handler()
async def put(ctx: ObjectContext, entries: dict[str, str]) -> None:
    for name, value in entries.items():
        ctx.set(name, value)


@names.handler()
async def clear_all(ctx: ObjectContext) -> list[str]:
    found = await ctx.state_keys()
    ctx.clear_all()
    return sorted(found)


@names.handler(kind="shared")
async def everything(ctx: ObjectSharedContext) -> dict[str, Any]:
    return {name: await ctx.get(name) for name in await ctx.state_keys()}


# Calls that are made for others.


@proxy.handler()
async def call(ctx: Context, wanted: dict[str, Any]) -> str:
    answer = await ctx.generic_call(
        wanted["service"], wanted["handler"], wanted["argument"].encode(),
        key=wanted.get("key"), idempotency_key=wanted.get("idempotency_key"),
        scope=wanted.get("scope"), limit_key=wanted.get("limit_key"),
    )  # fmt: skip
    return answer.decode()


@proxy.handler()
async def send(ctx: Context, wanted: dict[str, Any]) -> list[str]:
    delay = wanted.get("delay_ms")
    sent = [
        ctx.generic_send(
            wanted["service"], wanted["handler"], wanted["argument"].encode(),
            key=wanted.get("key"), idempotency_key=wanted.get("idempotency_key"),
            send_delay=None if delay is None else timedelta(milliseconds=delay),
            scope=wanted.get("scope"), limit_key=wanted.get("limit_key"),
        )
        for _ in range(wanted.get("count", 1))
    ]  # fmt: skip
    return [await handle.invocation_id() for handle in sent]


@proxy.handler(
    accept="*/*",
    content_type="application/octet-stream",
    input_serde=BytesSerde(),
    output_serde=BytesSerde(),
)
async def upper(ctx: Context, body: bytes) -> bytes:
    return body.upper()


@proxy.handler()
async def headers(ctx: Context) -> dict[str, str]:
    return ctx.request().headers


@proxy.handler()
async def count_effect(ctx: Context, name: str) -> int:
    effects[name] += 1
    return effects[name]


@proxy.handler()
async def take_room(ctx: Context, name: str) -> list[str | None]:

    async def stay() -> None:
        effects[f"{name} running"] += 1
        effects[f"{name} most"] = max(effects[f"{name} most"], effects[f"{name} running"])
        while not effects[f"{name} may go"]:
            await asyncio.sleep(0.01)
        effects[f"{name} may go"] = 0
        effects[f"{name} running"] -= 1

    await ctx.run("stay", stay)
    request = ctx.request()
    return [request.scope, request.limit_key]


@hidden.handler()
async def secret(ctx: Context) -> str:
    return "secret"


@ordering.handler()
async def issue(ctx: Context, plan: dict[str, Any]) -> None:
    calls: list[RestateDurableFuture[None]] = []
    for number, verb in enumerate(plan["verbs"]):
        if verb == "call":
            calls.append(ctx.object_call(append, key=plan["key"], arg=str(number)))
        else:
            ctx.object_send(append, key=plan["key"], arg=str(number))
    for future in calls:
        await future


# What is cancelled and killed.


@lock.handler()
async def hold(ctx: ObjectContext, operation: str) -> None:
    if operation == "call":
        await ctx.object_call(hold, key=f"{ctx.key()}-deeper", arg="awakeable")
    elif operation == "sleep":
        await ctx.sleep(IN_VAIN)
    else:
        _, never = ctx.awakeable(type_hint=str)
        await never


@lock.handler()
async def is_unlocked(ctx: ObjectContext) -> bool:
    return True


@runner.handler()
async def start(ctx: ObjectContext, operation: str) -> None:
    try:
        await ctx.object_call(hold, key=ctx.key(), arg=operation)
    except TerminalError as cancelled:
        ctx.set("cancelled", cancelled.status_code)
        raise


@runner.handler()
async def verify(ctx: ObjectContext) -> int | None:
    return await ctx.get("cancelled", type_hint=int)


@runner.handler(kind="shared")
async def cancel(ctx: ObjectSharedContext, invocation_id: str) -> None:
    ctx.cancel_invocation(invocation_id)


@runner.handler()
async def compensate(ctx: ObjectContext) -> list[str]:
    done = [await ctx.run_typed("do", lambda: "done", RunOptions(type_hint=str))]
    try:
        await ctx.sleep(IN_VAIN)
    except TerminalError:
        done.append(await ctx.run_typed("undo", lambda: "undone", RunOptions(type_hint=str)))
        done.append(str((await ctx.object_call(add, key=ctx.key(), arg=1))["new"]))
    return done


@tree.handler()
async def grow(ctx: ObjectContext, depth: int) -> None:
    root = ctx.key().rpartition("-")[0] or ctx.key()
    if depth:
        await ctx.object_call(grow, key=f"{root}-{depth}", arg=depth - 1)
    else:
        _, never = ctx.awakeable(type_hint=str)
        await never


@tree.handler()
async def is_free(ctx: ObjectContext) -> bool:
    return True


# Waiting for several things.


async def first_succeeded(*futures: RestateDurableFuture[T]) -> T:
    pending: list[RestateDurableFuture[Any]] = list(futures)
    failure: TerminalError | None = None
    while pending:
        done, pending = await wait_completed(*pending)
        for future in done:
            try:
                found: T = await future
            except TerminalError as error:
                failure = error
            else:
                return found
    assert failure is not None
    raise failure


async def all_succeeded(*futures: RestateDurableFuture[T]) -> list[T]:
    pending: list[RestateDurableFuture[Any]] = list(futures)
    while pending:
        done, pending = await wait_completed(*pending)
        for future in done:
            await future
    return [await future for future in futures]


async def told(future: RestateDurableFuture[Any]) -> str:
    try:
        return f"ok:{await future}"
    except TerminalError as error:
        return f"err:{error.message}"


def value() -> str:
    return "runval"


def fail() -> str:
    raise TerminalError("fail")


def awakeables(ctx: ObjectContext, count: int) -> list[RestateDurableFuture[str]]:
    made = [ctx.awakeable(type_hint=str) for _ in range(count)]
    ctx.set("ids", [name for name, _ in made])
    return [future for _, future in made]


@waiting.handler(kind="shared")
async def ids(ctx: ObjectSharedContext) -> list[str]:
    return await ctx.get("ids", type_hint=list) or []


@waiting.handler(kind="shared")
async def resolve(ctx: ObjectSharedContext, ids: list[str]) -> None:
    ctx.resolve_awakeable(ids[0], ids[1])


@waiting.handler(kind="shared")
async def reject(ctx: ObjectSharedContext, ids: list[str]) -> None:
    ctx.reject_awakeable(ids[0], ids[1])


@waiting.handler()
async def one(ctx: ObjectContext) -> str:
    (future,) = awakeables(ctx, 1)
    return await future


@waiting.handler()
async def awakeable_or_sleep(ctx: ObjectContext) -> str:
    (future,) = awakeables(ctx, 1)
    name, _ = await select(awakeable=future, sleep=ctx.sleep(timedelta(milliseconds=100)))
    return str(name)


@waiting.handler()
async def awakeable_or_timeout(ctx: ObjectContext) -> str:
    (future,) = awakeables(ctx, 1)
    name, found = await select(awakeable=future, sleep=ctx.sleep(timedelta(milliseconds=100)))
    if name == "sleep":
        raise TerminalError("await-timeout", 408)
    return str(found)


@waiting.handler()
async def first_of_awakeables_and_steps(ctx: ObjectContext) -> str:
    mixed: list[RestateDurableFuture[str]] = []
    for future in awakeables(ctx, 3):
        mixed += [future, ctx.run_typed("fail", fail)]
    return await first_succeeded(*mixed)


def three(ctx: Context) -> list[RestateDurableFuture[str]]:
    return [ctx.signal(f"sig{number}", type_hint=str) for number in range(3)]


@signals.handler()
async def first_success(ctx: Context) -> str:
    return await first_succeeded(*three(ctx))


@signals.handler()
async def all_successes(ctx: Context) -> str:
    return "|".join(await all_succeeded(*three(ctx)))


@signals.handler()
async def all_told(ctx: Context) -> str:
    return "|".join([await told(future) for future in await gather(*three(ctx))])


@signals.handler()
async def first_done(ctx: Context) -> str:
    done, _ = await wait_completed(*three(ctx))
    return str(await done[0])


@signals.handler()
async def step_or_signal(ctx: Context) -> str:
    never = ctx.signal("never", type_hint=str)
    done, _ = await wait_completed(ctx.run_typed("value", value), never)
    return str(await done[0])


@signals.handler()
async def failed_step_or_signal(ctx: Context) -> str:
    return await first_succeeded(ctx.run_typed("fail", fail), ctx.signal("sig0", type_hint=str))


@signals.handler()
async def step_and_signal(ctx: Context) -> str:
    futures = ctx.run_typed("value", value), ctx.signal("sig0", type_hint=str)
    return "|".join(await all_succeeded(*futures))


@signals.handler()
async def steps_and_signal_told(ctx: Context) -> str:
    futures = (
        ctx.run_typed("value", value), ctx.signal("sig0", type_hint=str), ctx.run_typed("fail", fail)
    )  # fmt: skip
    return "|".join([await told(future) for future in await gather(*futures)])


@signals.handler()
async def receive(ctx: Context, count: int) -> list[str]:
    return [await ctx.signal("word", type_hint=str) for _ in range(count)]


@signals.handler()
async def resolve_other(ctx: Context, what: list[str]) -> None:
    ctx.resolve_signal(what[0], what[1], what[2])


@signals.handler()
async def reject_other(ctx: Context, what: list[str]) -> None:
    ctx.reject_signal(what[0], what[1], what[2])


@signals.handler()
async def send_signal_and_attach(ctx: Context) -> str:
    sent = ctx.service_send(receive, arg=1)
    id_ = await sent.invocation_id()
    ctx.resolve_signal(id_, "word", "hello")
    found: list[str] = await ctx.attach_invocation(id_, type_hint=list)
    return "".join(found)


# Steps, sleeps and failures.


@steps.handler()
async def three_local(ctx: Context) -> int:
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        effects[ctx.request().id] += 1

    for number in range(3):
        await ctx.run_typed(f"step {number}", step)
    return count


@steps.handler()
async def succeeds_at(ctx: Context, times: int) -> int:
    name = ctx.request().id

    def step() -> int:
        effects[name] += 1
        if effects[name] < times:
            raise OSError("not yet")
        return effects[name]

    return await ctx.run_typed("step", step)


@steps.handler()
async def fails_after(ctx: Context, times: int) -> str:
    name = ctx.request().id

    def step() -> str:
        effects[name] += 1
        raise OSError("broken")

    options = RunOptions[str](max_attempts=times, initial_retry_interval=timedelta(milliseconds=1))
    try:
        return await ctx.run_typed("step", step, options)
    except TerminalError as error:
        return f"{effects[name]}: {error.message}"


@steps.handler()
async def nap(ctx: Context, milliseconds: int) -> None:
    await ctx.sleep(timedelta(milliseconds=milliseconds))


@steps.handler()
async def naps(ctx: Context, milliseconds: list[int]) -> int:
    sleeps = [ctx.sleep(timedelta(milliseconds=length)) for length in milliseconds]
    return len(await gather(*sleeps))


@steps.handler()
async def wide(ctx: Context, size: int) -> int:
    futures = [ctx.run_typed("wide", lambda: "x" * size) for _ in range(10)]
    return sum([len(await future) for future in await gather(*futures)])


@failing.handler()
async def terminally(ctx: ObjectContext, message: str) -> None:
    raise TerminalError(message, 418, {"key1": "value1", "key2": "value2"})


@failing.handler()
async def through_a_call(ctx: ObjectContext, message: str) -> None:
    await ctx.object_call(terminally, key=f"{ctx.key()}-deeper", arg=message)


@failing.handler()
async def through_a_step(ctx: ObjectContext, message: str) -> None:
    def step() -> None:
        raise TerminalError(message, 418, {"key1": "value1", "key2": "value2"})

    await ctx.run_typed("step", step)


@failing.handler()
async def until_attempt_four(ctx: ObjectContext) -> int:
    effects[ctx.key()] += 1
    if effects[ctx.key()] < 4:
        raise ValueError(f"attempt {effects[ctx.key()]}")
    return effects[ctx.key()]


@failing.handler(invocation_retry_policy=PAUSING)
async def until_repaired(ctx: ObjectContext) -> str:
    if not effects["repaired"]:
        raise ValueError("out of order")
    return "repaired"


@failing.handler()
async def run_then_fail(ctx: ObjectContext, message: str) -> str:
    drawn = await ctx.run_typed("draw", lambda: f"draw {_next(ctx.key())}")
    if effects[f"{ctx.key()} may succeed"] == 0:
        raise TerminalError(message)
    return drawn


def _next(name: str) -> int:
    effects[name] += 1
    return effects[name]


# Code that does something else on every attempt.


def _is_odd(ctx: ObjectContext) -> bool:
    effects[ctx.key()] += 1
    return effects[ctx.key()] % 2 == 1


@changing.handler()
async def sleep_or_call(ctx: ObjectContext) -> None:
    if _is_odd(ctx):
        await ctx.sleep(timedelta(milliseconds=20))
    else:
        await ctx.object_call(total, key=ctx.key(), arg=None)
    await _count(ctx)


@changing.handler()
async def another_handler(ctx: ObjectContext) -> None:
    if _is_odd(ctx):
        await ctx.object_call(total, key=ctx.key(), arg=None)
    else:
        await ctx.object_call(listed, key=ctx.key(), arg=None)
    await _count(ctx)


@changing.handler()
async def another_target(ctx: ObjectContext) -> None:
    ctx.object_send(total, key="a" if _is_odd(ctx) else "b", arg=None)
    await _count(ctx)


@changing.handler()
async def another_key(ctx: ObjectContext) -> None:
    ctx.set("a" if _is_odd(ctx) else "b", "value")
    await _count(ctx)


async def _count(ctx: ObjectContext) -> None:
    await ctx.sleep(timedelta(milliseconds=20))
    ctx.object_send(add, key=f"{ctx.key()}-counter", arg=1)


# Workflows.


@block.main()
async def run(ctx: WorkflowContext, name: str) -> str:
    effects[f"{ctx.key()} run"] += 1
    ctx.set("state", f"waits for {name}")
    found = await ctx.promise("answer", type_hint=str).value()
    ctx.set("state", "done")
    return f"{name} {found}"


@block.handler()
async def unblock(ctx: WorkflowSharedContext, answer: str) -> None:
    await ctx.promise("answer", type_hint=str).resolve(answer)


@block.handler()
async def refuse(ctx: WorkflowSharedContext, message: str) -> None:
    await ctx.promise("answer", type_hint=str).reject(message, 409)


@block.handler()
async def state(ctx: WorkflowSharedContext) -> str | None:
    return await ctx.get("state", type_hint=str)


@block.handler()
async def peek(ctx: WorkflowSharedContext) -> str | None:
    return await ctx.promise("answer", type_hint=str).peek()


@block.handler()
async def wait_beside(ctx: WorkflowSharedContext) -> str:
    return await ctx.promise("answer", type_hint=str).value()


@proxy.handler()
async def call_workflow(ctx: Context, key: str) -> str:
    try:
        return await ctx.workflow_call(run, key=key, arg="called")
    except TerminalError as error:
        return f"{error.status_code} {error.message}"


ALL: list[Service | VirtualObject | Workflow] = [
    counter, names, proxy, hidden, ordering, lock, runner, tree, waiting, signals, steps, failing,
    changing, block,
]  # fmt: skip
KEYED: list[VirtualObject | Workflow] = [
    service for service in ALL if isinstance(service, (VirtualObject, Workflow))
]
