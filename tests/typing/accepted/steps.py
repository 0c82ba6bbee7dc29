"""Steps, sleeps and state carry the types of what they record."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypedDict, assert_type

from howdah import Context, JsonSerde, ObjectContext, RunOptions


@dataclass
class Receipt:
    number: int


class Row(TypedDict):
    name: str


async def names() -> list[str]:
    return []


async def charge(amount: int) -> Receipt:
    return Receipt(amount)


def render(receipt: Receipt) -> str:
    return str(receipt.number)


async def ask() -> int:
    return 1


def ask_in_a_thread() -> float:
    return 1.0


async def steps(ctx: Context) -> None:
    assert_type(await ctx.run("ask", ask), int)
    assert_type(await ctx.run("ask", ask_in_a_thread, max_attempts=3), float)
    assert_type(await ctx.run("render", render, args=(Receipt(1),)), str)
    assert_type(await ctx.run("charge", charge, args=(5,)), Receipt)
    limited = RunOptions[str](max_attempts=3, max_duration=timedelta(seconds=10))
    assert_type(await ctx.run_typed("render", render, limited, Receipt(1)), str)
    await ctx.sleep(timedelta(seconds=1), name="pause")
    assert_type(await ctx.time(), float)


async def steps_in_expressions(ctx: Context) -> None:
    """What surrounds a step may say more of its type than the step itself."""
    assert_type(len(await ctx.run("names", names)), int)
    assert_type(sorted(await ctx.run("names", names)), list[str])
    rows: list[int | str] = await ctx.run("rows", lambda: [1, 2])
    row: Row = await ctx.run("row", lambda: {"name": "Ann"})
    assert_type((rows, row), tuple[list[int | str], Row])


async def state(ctx: ObjectContext) -> None:
    assert_type(await ctx.get("receipt", type_hint=Receipt), Receipt | None)
    assert_type(await ctx.get("receipt", JsonSerde(Receipt)), Receipt | None)
    assert_type(await ctx.get("names", type_hint=list[str]), list[str] | None)
    ctx.set("receipt", Receipt(1))
    ctx.set("receipt", Receipt(1), JsonSerde(Receipt))
    ctx.clear("receipt")
