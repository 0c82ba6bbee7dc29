"""A user's services, as tests of the helpers need them."""

from datetime import timedelta

from howdah import (
    Context,
    InvocationRetryPolicy,
    ObjectContext,
    ObjectSharedContext,
    Service,
    TerminalError,
    VirtualObject,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
    blocking,
)

DAY = timedelta(days=1)

greeter = Service("Greeter")
cart = VirtualObject("Cart")
signup = Workflow("Signup")
stubborn = Service(
    "Stubborn",
    invocation_retry_policy=InvocationRetryPolicy(initial_interval=DAY, max_attempts=3),
)
elsewhere = Service("Elsewhere")


@greeter.handler()
async def greet(ctx: Context, name: str) -> str:
    """Say hello, in a step."""
    return await ctx.run("greet", lambda: f"Hello {name}")


@greeter.handler()
def greet_blocking(ctx: blocking.Context, name: str) -> str:
    """The same without asyncio."""
    greeting = ctx.run("greet", lambda: f"Hello {name}")
    ctx.sleep(DAY)
    return ctx.service_call(greet, arg=greeting)


@greeter.handler()
async def fail(ctx: Context) -> str:
    raise TerminalError("no greetings today", 418)


@greeter.handler()
async def approve(ctx: Context) -> str:
    """Wait for somebody; the awakeable's id is the result of the first step."""
    id_, answer = ctx.awakeable(type_hint=str)
    await ctx.run("ask", lambda: id_)
    return await answer


@greeter.handler()
async def listen(ctx: Context) -> str:
    return await ctx.signal("word", type_hint=str)


@greeter.handler()
async def nap(ctx: Context, days: int) -> float:
    """Sleep a day, so many times; how long it took."""
    began = await ctx.time()
    for _ in range(days):
        await ctx.sleep(DAY)
    return await ctx.time() - began


@greeter.handler()
async def wander(ctx: Context) -> str:
    """Call what is not there."""
    return await ctx.service_call(absent, arg=None)


@elsewhere.handler()
async def absent(ctx: Context) -> str:
    return "never"


@cart.handler()
async def add(ctx: ObjectContext, item: str) -> int:
    items = await ctx.get("items", type_hint=list[str]) or []
    ctx.set("items", [*items, item])
    return len(items) + 1


@cart.handler(kind="shared")
async def count(ctx: ObjectSharedContext) -> int:
    return len(await ctx.get("items", type_hint=list[str]) or [])


@signup.main()
async def run(ctx: WorkflowContext, email: str) -> str:
    code = await ctx.promise("code", type_hint=str).value()
    return f"{email}: {code}"


@signup.handler()
async def confirm(ctx: WorkflowSharedContext, code: str) -> None:
    await ctx.promise("code", type_hint=str).resolve(code)


@stubborn.handler()
async def refuse(ctx: Context) -> None:
    raise RuntimeError("not this time")
