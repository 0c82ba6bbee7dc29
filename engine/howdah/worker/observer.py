"""Who looks on while a process works: for a person who wants to see progress, and for tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol
from uuid import UUID

from howdah.store.registry import HandlerRow
from howdah.store.units import Outcome


class Observer(Protocol):
    """Is told what the attempts of one process come to. It must neither raise nor block."""

    def completed(self, row: HandlerRow, key: str | None, outcome: Outcome) -> None:
        """An invocation ended here: its outcome is on disk."""

    def failed(
        self,
        id_: UUID,
        row: HandlerRow,
        key: str | None,
        attempt: int,
        error: BaseException,
        delay: timedelta | None,
    ) -> None:
        """An attempt failed; the next one begins after `delay`, or never by itself for None."""
