"""Workflows, promises, awakeables and signals carry the types of what arrives."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from howdah import (
    Context,
    DurableFuture,
    DurablePromise,
    JsonSerde,
    ObjectContext,
    ObjectSharedContext,
    SendHandle,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
    gather,
)

signup = Workflow("Signup", workflow_retention=timedelta(days=7), state_preload=["email"])


@dataclass
class Click:
    secret: str


@signup.main(workflow_retention=timedelta(days=30), enable_lazy_state=True)
async def run(ctx: WorkflowContext, email: str) -> bool:
    ctx.set("email", email)
    promise = ctx.promise("click", type_hint=Click)
    assert_type(promise, DurablePromise[Click])
    assert_type(promise.value(), DurableFuture[Click])
    assert_type((await promise.value()).secret, str)
    assert_type(await ctx.promise("any").value(), Any)
    assert_type(await ctx.promise("count", JsonSerde(int)).value(), int)
    return True


@signup.handler(idempotency_retention=timedelta(hours=1))
async def click(ctx: WorkflowSharedContext, secret: str) -> None:
    promise = ctx.promise("click", type_hint=Click)
    assert_type(await promise.peek(), Click | None)
    assert_type(await ctx.get("email", type_hint=str), str | None)
    await promise.resolve(Click(secret))
    await promise.reject("no", code=403)


@signup.handler()
def status(ctx: Any) -> str:
    return "waiting"


async def a_main_handler_may_do_what_all_others_may(ctx: WorkflowContext) -> None:
    contexts: list[Context] = [ctx]
    exclusive: ObjectContext = ctx
    shared: WorkflowSharedContext = ctx
    reader: ObjectSharedContext = ctx
    assert len({exclusive, shared, reader, *contexts}) == 1


async def starts(ctx: Context) -> None:
    assert_type(await ctx.workflow_call(run, "joe", "joe@example.com"), bool)
    assert_type(await ctx.workflow_call(click, key="joe", arg="secret"), None)
    assert_type(await ctx.workflow_call(status, "joe"), str)
    sent = ctx.workflow_send(run, "joe", "joe@example.com", send_delay=timedelta(seconds=1))
    assert_type(sent, SendHandle)
    assert_type(ctx.workflow_send(status, "joe"), SendHandle)
    attached = ctx.attach_invocation(await sent.invocation_id(), type_hint=bool)
    assert_type(attached, DurableFuture[bool])
    assert_type(await ctx.attach_invocation("id"), Any)


async def waits(ctx: Context) -> None:
    assert_type(ctx.awakeable(type_hint=Click), tuple[str, DurableFuture[Click]])
    name, future = ctx.awakeable(JsonSerde(list[int]))
    assert_type(await future, list[int])
    assert_type(ctx.awakeable(), tuple[str, DurableFuture[Any]])
    assert_type(ctx.signal("go", type_hint=int), DurableFuture[int])
    anything = ctx.signal("go")
    assert_type(await anything, Any)
    await gather(future, anything)
    ctx.resolve_awakeable(name, [1])
    ctx.resolve_awakeable(name, [1], JsonSerde(list[int]))
    ctx.reject_awakeable(name, "no", failure_code=403)
    ctx.resolve_signal("id", "go", Click("secret"))
    ctx.reject_signal("id", "go", "no")
    ctx.cancel_invocation("id")
