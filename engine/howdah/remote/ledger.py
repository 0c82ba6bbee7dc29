"""Which completion ids an invocation has used, and for what. Pure.

An endpoint numbers what it asks for itself. One that uses a number twice, or that answers what only
the runtime may answer, would spoil its journal for every later attempt: it is refused instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from howdah.machine.entries import NOTIFICATION, Entry, Kind
from howdah.remote.wire import ProtocolViolation

CID_MAX: Final = (1 << 31) - 1
SIGNAL_MAX: Final = (1 << 28) - 1
"""The largest number of a signal; what is above stands for names."""


class Ledger:
    """The completion ids of one invocation.

    Args:
        journal: What is recorded, with what every completion id stands for.
    """

    __slots__ = ("_answered", "_failed", "_kinds")

    def __init__(self, journal: Iterable[Entry] = ()) -> None:
        self._kinds: dict[int, int] = {}
        self._answered: set[int] = set()
        self._failed: set[int] = set()
        for entry in journal:
            if entry.kind >= NOTIFICATION:
                if entry.cid is not None:
                    self._answered.add(entry.cid)
                    if entry.detail is not None:
                        self._failed.add(entry.cid)
                continue
            if entry.cid is not None:
                self._kinds[entry.cid] = entry.kind
            if entry.kind in (Kind.CALL, Kind.SEND) and entry.detail is not None:
                facts: dict[str, Any] = msgspec.json.decode(entry.detail)
                if facts.get("id_cid"):
                    self._kinds[facts["id_cid"]] = Kind.INVOCATION_ID

    def ask(self, cid: int, kind: int) -> None:
        """Note that a command of this kind asks for a completion.

        Raises:
            ProtocolViolation: the number was used before, or cannot be one.
        """
        if not 0 < cid <= CID_MAX:
            raise ProtocolViolation(f"{cid} is no completion id")
        if cid in self._kinds:
            raise ProtocolViolation(f"completion id {cid} is used twice")
        self._kinds[cid] = kind

    def propose(self, cid: int) -> None:
        """Note that the endpoint gives the result of a step.

        Raises:
            ProtocolViolation: it is no step that has no result.
        """
        if self._kinds.get(cid) != Kind.RUN or cid in self._answered:
            raise ProtocolViolation(f"completion id {cid} is no step that waits for its result")
        self._answered.add(cid)

    def note_failed(self, cid: int) -> None:
        """Note that what completes this is a failure."""
        self._failed.add(cid)

    def has_failed(self, cid: int) -> bool:
        """Whether what completed this is a failure."""
        return cid in self._failed

    def check_awaited(self, cids: Iterable[int], signals: Iterable[int]) -> None:
        """Raise unless all of this can come.

        Raises:
            ProtocolViolation: nothing would ever complete one of them.
        """
        for cid in cids:
            if cid not in self._kinds:
                raise ProtocolViolation(f"it waits for completion {cid}, which nothing asked for")
        for number in signals:
            check_signal(number)


def check_signal(number: int) -> None:
    """Raise unless a signal can have this number.

    Raises:
        ProtocolViolation: it cannot.
    """
    if not 0 < number <= SIGNAL_MAX:
        raise ProtocolViolation(f"{number} is no signal")
