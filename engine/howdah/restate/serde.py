"""Values to bytes and back: howdah's own serdes, under the names that programs import."""

from __future__ import annotations

from typing import TypeVar

from howdah.serde import BytesSerde, DefaultSerde, JsonSerde, PydanticJsonSerde, Serde

T = TypeVar("T")

__all__ = [
    "BytesSerde",
    "DefaultSerde",
    "JsonSerde",
    "MsgspecJsonSerde",
    "PydanticJsonSerde",
    "Serde",
]


class MsgspecJsonSerde(JsonSerde[T]):
    """JSON of a msgspec struct, checked when it is read.

    Args:
        model: The struct.
    """

    def __init__(self, model: type[T]) -> None:
        super().__init__(model)
