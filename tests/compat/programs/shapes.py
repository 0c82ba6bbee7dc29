"""Annotations as the SDK reads them: models are models, everything else is JSON as it is."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import msgspec
from pydantic import BaseModel

from howdah.restate import Context, ObjectContext, ObjectSharedContext, Service, VirtualObject
from howdah.restate.serde import DefaultSerde, JsonSerde, MsgspecJsonSerde, Serde

shapes = Service("Shapes")
kept = VirtualObject("Kept")


class Add(TypedDict):
    type: Literal["add"]
    value: int


class Say(TypedDict):
    type: Literal["say"]
    text: str


class Commands(TypedDict):
    commands: Iterable[Add | Say]


class Item(BaseModel):
    name: str
    count: int = 1


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclass
class Order:
    id: str
    items: list[str] = field(default_factory=list)


class Reversed(Serde[str]):
    def serialize(self, obj: str | None) -> bytes:
        return (obj or "")[::-1].encode()

    def deserialize(self, buf: bytes) -> str | None:
        return buf.decode()[::-1]


@shapes.handler()
async def interpret(ctx: Context, request: Commands) -> list[Any]:
    """A union of TypedDicts, which nothing could check."""
    return [
        command["value"] + 1 if command["type"] == "add" else command["text"]
        for command in request["commands"]
    ]


@shapes.handler()
async def of_a_list(ctx: Context, items: list[Item]) -> list[str]:
    return [type(item).__name__ for item in items]


@shapes.handler()
async def of_one(ctx: Context, item: Item | None) -> str:
    return type(item).__name__


@shapes.handler()
async def move(ctx: Context, point: Point) -> Point:
    return Point(point.y, point.x)


@shapes.handler()
async def place(ctx: Context, order: Order) -> Order:
    stored = await ctx.run_typed("store", store, order=order)
    assert isinstance(stored, Order)
    return stored


@shapes.handler()
async def anything(ctx: Context, name: str) -> str:
    """Nothing is checked against built-in types, and no body is None."""
    return f"{type(name).__name__} {name}"


@shapes.handler()
async def wrong_about_its_step(ctx: Context) -> str:
    def says_int() -> int:
        return "a text"  # type: ignore[return-value]

    return str(await ctx.run("wrong", says_int))


@shapes.handler(input_serde=Reversed(), output_serde=Reversed())
async def of_its_own(ctx: Context, text: str) -> str:
    return f"{text.upper()}!"


def store(order: Order) -> Order:
    return Order(order.id, [*order.items, "stored"])


@kept.handler()
async def keep(ctx: ObjectContext, item: Item) -> str:
    ctx.set("model", item)
    ctx.set("models", [item])
    ctx.set("point", Point(1), MsgspecJsonSerde(Point))
    ctx.set("plain", {"a": 1}, JsonSerde())
    ctx.set("nothing", None)
    return await read_all(ctx)


@kept.handler(kind="shared")
async def look(ctx: ObjectSharedContext) -> str:
    return await read_all(ctx)


async def read_all(ctx: ObjectSharedContext | ObjectContext) -> str:
    return " ".join(
        [
            repr(await ctx.get("model", type_hint=Item)),
            repr(await ctx.get("model")),
            repr(await ctx.get("models", type_hint=list[Item])),
            repr(await ctx.get("point", MsgspecJsonSerde(Point))),
            repr(await ctx.get("plain", DefaultSerde())),
            repr(await ctx.get("nothing")),
        ]
    )
