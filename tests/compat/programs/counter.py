"""A virtual object: state for each key, one writer at a time, readers beside it."""

from howdah.restate import ObjectContext, ObjectSharedContext, VirtualObject

counter = VirtualObject("counter")


@counter.handler()
async def increment(ctx: ObjectContext, value: int) -> int:
    n = await ctx.get("counter", type_hint=int) or 0
    n += value
    ctx.set("counter", n)
    return n


@counter.handler(kind="shared")
async def count(ctx: ObjectSharedContext) -> int:
    return await ctx.get("counter") or 0


@counter.handler(kind="shared")
async def names(ctx: ObjectSharedContext) -> list[str]:
    return [ctx.key(), *await ctx.state_keys()]


@counter.handler()
async def reset(ctx: ObjectContext) -> None:
    ctx.clear("counter")


@counter.handler(state_preload=["counter"])
async def fill(ctx: ObjectContext, entries: dict[str, int]) -> list[int]:
    ctx.clear_all()
    for name, value in entries.items():
        ctx.set(name, value)
    return [await ctx.get(name, type_hint=int) or 0 for name in sorted(entries)]
