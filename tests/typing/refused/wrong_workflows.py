"""What workflows, promises, awakeables and signals are not made for; the lines are marked."""

from datetime import timedelta
from typing import Any

from howdah import (
    Context,
    JsonSerde,
    ObjectContext,
    Service,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
)

signup = Workflow("Signup")


@signup.main()
async def run(ctx: WorkflowContext, email: str) -> bool:
    number: int = await ctx.promise("click", type_hint=str).value()  # error
    await ctx.promise("click", type_hint=str).resolve(5)  # error
    secret: str = await ctx.promise("click", type_hint=str).peek()  # error
    return bool(number and secret)


@signup.handler()
async def click(ctx: WorkflowSharedContext, secret: str) -> None:
    ctx.set("email", "joe")  # error


@signup.handler()
def status(ctx: Any) -> str:
    return "waiting"


@signup.main(idempotency_retention=timedelta(1))  # error
async def unknown_option(ctx: WorkflowContext) -> None: ...


@signup.handler(workflow_retention=timedelta(1))  # error
async def for_main_only(ctx: WorkflowSharedContext) -> None: ...


@signup.handler(state_preload="email")  # error
async def a_text_is_no_list(ctx: WorkflowSharedContext) -> None: ...


Service("Shop", enable_lazy_state=True)  # error


async def starts(ctx: Context) -> None:
    await ctx.workflow_call(run, "joe")  # error
    await ctx.workflow_call(run, "joe", 5)  # error
    await ctx.workflow_call(run, arg="joe@example.com")  # error
    await ctx.workflow_call(status, "joe", "now")  # error
    ctx.workflow_send(status, "joe", 5)  # error
    ctx.workflow_send(click, "joe")  # error
    done: str = await ctx.workflow_call(run, "joe", "joe@example.com")  # error
    late: bool = await ctx.attach_invocation(done, type_hint=int)  # error
    assert late


async def waits(ctx: ObjectContext) -> None:
    ctx.promise("click")  # error
    name, future = ctx.awakeable(type_hint=int)
    text: str = await future  # error
    await name  # error
    await ctx.resolve_awakeable(name, 1)  # error
    ctx.resolve_awakeable(name, "1", JsonSerde(int))  # error
    ctx.resolve_signal("id", "go", text, JsonSerde(int))  # error
    count: str = await ctx.signal("go", type_hint=int)  # error
    ctx.reject_signal("id", "go", count, "500")  # error
    await ctx.cancel_invocation("id")  # error


async def generic(ctx: Context) -> None:
    ctx.generic_call("Shop", "add", "body")  # error
    body: str = await ctx.generic_call("Shop", "add", b"body")  # error
    await ctx.generic_send("Shop", "add", body.encode())  # error
    ctx.generic_send("Shop", "add")  # error
