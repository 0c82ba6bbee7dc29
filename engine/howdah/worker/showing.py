"""What running attempts wait for, as far as they say it, written down for those who look.

A handler in this process waits for a moment, and is suspended: then its row says for what. One that
runs elsewhere may wait there for long, and tell. What it told is written once it has waited for a
while, and taken back when it goes on; nothing but views reads it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Protocol
from uuid import UUID

from howdah.store.batch import int_array

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

SHOW = "select * from howdah_core.show_waits($1, $2, $3, $4, $5, $6, $7)"
SHOW_SECONDS = 1.0
SHOWN_MAX = 500
"""Rows of one statement."""


class Awaited(NamedTuple):
    """What an attempt waits for, in the columns of `howdah_core.live`."""

    wait_ids: tuple[int, ...]
    wait_all: bool
    wait_tree: tuple[int, ...] | None
    wait_note: str | None


class Waiting(Protocol):
    """An attempt that says what it waits for."""

    id: UUID
    epoch: int

    def awaited(self) -> Awaited | None:
        """What it waits for; None: it goes on, or is over."""
        ...


class _Seen:
    __slots__ = ("attempt", "last", "shown")

    def __init__(self, attempt: Waiting) -> None:
        self.attempt = attempt
        self.last: Awaited | None = None
        self.shown: Awaited | None = None


class Showing:
    """The step of the loop that writes it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: dict[UUID, _Seen] = {}

    def note(self, attempt: Waiting) -> None:
        """An attempt began to wait; it is looked at from now on until it goes on."""
        seen = self._seen.get(attempt.id)
        if seen is None or seen.attempt is not attempt:
            self._seen[attempt.id] = _Seen(attempt)

    async def run_once(self) -> None:
        """Write what was waited for at the last look as well, and take back what is over."""
        changed: list[tuple[_Seen, Awaited | None]] = []
        for id_, seen in list(self._seen.items()):
            if not self._is_resident(seen.attempt):
                self._seen.pop(id_, None)  # its row says something else by now
                continue
            last, seen.last = seen.last, seen.attempt.awaited()
            if seen.last == seen.shown:
                if seen.last is None:
                    self._seen.pop(id_, None)
            elif seen.last is None or seen.last == last:
                changed.append((seen, seen.last))
                if len(changed) == SHOWN_MAX:
                    break
            if seen.last is not last:
                await asyncio.sleep(0)  # it was read, which may have taken a while
        if not changed:
            return
        rows = await self._engine.database.fetch(
            SHOW,
            self._engine.worker_no,
            [seen.attempt.id for seen, _ in changed],
            [seen.attempt.epoch for seen, _ in changed],
            [int_array(it.wait_ids if it is not None else None) for _, it in changed],
            [it is not None and it.wait_all for _, it in changed],
            [int_array(it.wait_tree if it is not None else None) for _, it in changed],
            [it.wait_note if it is not None else None for _, it in changed],
        )
        written = {row[0] for row in rows}
        for seen, awaited in changed:
            if seen.attempt.id in written:
                seen.shown = awaited

    def _is_resident(self, attempt: Waiting) -> bool:
        resident: object = self._engine.residents.get(attempt.id)
        return resident is attempt
