"""Codecs between serdes and the journal, which howdah does not have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from howdah.errors import UsageError

__all__ = ["JournalValueCodec", "JournalValueCodecProvider"]


class JournalValueCodec(ABC):
    """Turns serialized values into what is stored, and back.

    Programs may define one; to use it is refused, since howdah would store the values as they are.
    """

    @abstractmethod
    def encode(self, buf: bytes) -> bytes:
        """Return what is stored."""

    @abstractmethod
    async def decode(self, buf: bytes) -> bytes:
        """Return what was given to `encode`."""


JournalValueCodecProvider: TypeAlias = Callable[[], Awaitable[JournalValueCodec]]


def refuse_codec(codec: object) -> None:
    """Refuse a codec: values that were meant to be encrypted must not be stored in the clear.

    Raises:
        UsageError: one is given. HD1000.
    """
    if codec is not None:
        raise UsageError(
            "journal_value_codec is not supported: howdah stores values as their serde writes them.",
            hint="Encode them in a Serde, and pass that as input_serde, output_serde or serde.",
        )
