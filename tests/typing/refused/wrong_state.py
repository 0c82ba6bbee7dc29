"""Verbs that a context does not offer, and steps whose types do not fit."""

from datetime import timedelta

from howdah import Context, JsonSerde, ObjectContext, ObjectSharedContext, RunOptions


async def shared(ctx: ObjectSharedContext) -> None:
    ctx.set("name", 1)  # error
    ctx.clear("name")  # error


async def plain(ctx: Context) -> None:
    ctx.key()  # error
    await ctx.get("name")  # error
    await ctx.sleep(5)  # error


async def exclusive(ctx: ObjectContext) -> None:
    count: str | None = await ctx.get("count", type_hint=int)  # error
    ctx.set("count", "one", JsonSerde(int))  # error
    await ctx.set("count", 1)  # error
    assert count is not None


def add(left: int, right: int) -> int:
    return left + right


async def steps(ctx: Context) -> None:
    await ctx.run_typed("add", add, RunOptions(), 1)  # error
    await ctx.run_typed("add", add, RunOptions(), 1, "2")  # error
    RunOptions[int](max_retries=3)  # error
    RunOptions[int](max_duration=timedelta(1), max_attempts="3")  # error
