"""The replay cursor of one attempt: matches what the handler does with what its journal says.

The journal has one writer, the attempt that holds the lease, and this object decides the index of
every entry. Notifications are *revealed* to the handler one at a time, in journal order, and only
as far as needed to satisfy what it waits for: so whatever a handler can observe is a function of
its journal, whatever the timing was. Only committed notifications are revealed, so nothing outside
ever happens on the strength of something that a crash could undo.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeAlias
from uuid import UUID

from howdah.errors import Cancelled, NonDeterminism
from howdah.machine.entries import (
    AWAKEABLE_FIRST,
    CANCEL,
    NOTIFICATION,
    Entry,
    Kind,
    describe,
    idempotency_key,
)

WaitKey: TypeAlias = int | tuple[str, int]
"""What can be awaited: a completion id, an awakeable (-n), or the n-th signal of a name."""

_MATCH_NAME = frozenset(
    {
        Kind.RUN,
        Kind.CALL,
        Kind.SEND,
        Kind.GET_STATE,
        Kind.SET_STATE,
        Kind.CLEAR_STATE,
        Kind.GET_LAZY_STATE,
        Kind.GET_PROMISE,
        Kind.PEEK_PROMISE,
        Kind.COMPLETE_PROMISE,
        Kind.SEND_SIGNAL,
        Kind.ATTACH,
        Kind.COMPLETE_AWAKEABLE,
    }
)
_MATCH_VALUE = frozenset(
    {
        Kind.CALL,
        Kind.SEND,
        Kind.SET_STATE,
        Kind.COMPLETE_PROMISE,
        Kind.SEND_SIGNAL,
        Kind.COMPLETE_AWAKEABLE,
    }
)


class Machine:
    """One attempt's journal.

    Args:
        handler: `Service/handler`, for messages.
        journal: Entries 1 to n as stored, dense and in order.
    """

    __slots__ = (
        "_arrived",
        "_arrived_cids",
        "_commands",
        "_cursor",
        "_next_awakeable",
        "_signals_awaited",
        "_signals_revealed",
        "closed",
        "completed",
        "handler",
        "known",
        "next_cid",
        "next_idx",
    )

    def __init__(self, handler: str, journal: Sequence[Entry] = ()) -> None:
        self.handler = handler
        self._commands = [entry for entry in journal if entry.kind < NOTIFICATION]
        self._arrived = deque(entry for entry in journal if entry.kind >= NOTIFICATION)
        self._arrived_cids = {entry.cid for entry in self._arrived}
        self._cursor = 0
        self.known = len(journal)
        self.next_idx = len(journal) + 1
        self.next_cid = 1
        self.completed: dict[WaitKey, Entry] = {}
        """Revealed notifications by what awaits them."""
        self._next_awakeable = AWAKEABLE_FIRST
        self._signals_awaited: dict[str, int] = {}
        self._signals_revealed: dict[str, int] = {}
        self.closed: BaseException | None = None
        """Once set, every verb raises it: the attempt is over, whatever the handler caught."""

    def command(
        self,
        kind: int,
        name: str | None = None,
        value: bytes | None = None,
        ref: UUID | None = None,
        detail: str | None = None,
        cids: int = 0,
    ) -> Entry:
        """Record the handler's next command, or find it in the journal.

        Args:
            kind: A `Kind`; name, value, ref and detail are those of `Entry`.
            name: A label, a state key or a target.
            value: Payload bytes.
            ref: The callee's id.
            detail: JSON text.
            cids: How many completion ids it takes; the entry carries the first of them.

        Returns:
            The entry. It is new when its `idx` is above `known`: the caller writes it.

        Raises:
            NonDeterminism: the journal holds another command here; nothing changed.
            BaseException: `closed`, when the attempt is over.
        """
        if self.closed is not None:
            raise self.closed
        entry = Entry(
            self.next_idx, kind, self.next_cid if cids else None, name, value, ref, detail
        )
        if self._cursor < len(self._commands):
            recorded = self._commands[self._cursor]
            if (
                recorded.kind != kind
                or (kind in _MATCH_NAME and recorded.name != name)
                or (kind in _MATCH_VALUE and recorded.value != value)
                or idempotency_key(recorded) != idempotency_key(entry)
            ):
                raise NonDeterminism(
                    handler=self.handler,
                    entry_index=recorded.idx,
                    recorded=_described(recorded),
                    attempted=_described(entry),
                )
            self._cursor += 1
            entry = recorded
        else:
            self.next_idx += 1
        self.next_cid += cids
        return entry

    def next_index(self) -> int:
        """The place of an entry that is new by construction: nothing is matched."""
        idx = self.next_idx
        self.next_idx += 1
        return idx

    def notification(
        self,
        kind: int,
        cid: int,
        value: bytes | None = None,
        detail: str | None = None,
        ref: UUID | None = None,
        name: str | None = None,
    ) -> Entry:
        """Give what came back its place in the journal. It is revealed after its commit."""
        entry = Entry(self.next_idx, kind, cid, name, value, ref, detail)
        self.next_idx += 1
        return entry

    def next_kind(self) -> int | None:
        """The kind of the command that the journal has next; None when it has no more."""
        if self._cursor < len(self._commands):
            return self._commands[self._cursor].kind
        return None

    @property
    def is_at_end(self) -> bool:
        """Whether the handler has reached and seen all that is known: what comes next is new."""
        return self._cursor >= len(self._commands) and not self._arrived and self.closed is None

    def awakeable(self) -> int:
        """The number of the next awakeable; its wait key is the number's negative."""
        number = self._next_awakeable
        self._next_awakeable += 1
        return number

    def signal(self, name: str) -> WaitKey:
        """The wait key of the next signal of this name: each is received once, in order."""
        count = self._signals_awaited.get(name, 0) + 1
        self._signals_awaited[name] = count
        return (name, count)

    def arrived(self, entry: Entry) -> None:
        """A notification is committed: it may be revealed from now on."""
        self._arrived.append(entry)
        self._arrived_cids.add(entry.cid)

    def forget(self) -> None:
        """Keep only which notifications there are: the handler replays elsewhere."""
        self._commands.clear()
        self._arrived.clear()

    def note_arrived(self, cid: int) -> None:
        """A notification is committed that is revealed elsewhere."""
        self._arrived_cids.add(cid)

    def has_arrived(self, cid: int) -> bool:
        """Whether the completion of `cid` is in the journal, revealed or not."""
        return cid in self._arrived_cids

    def reveal_any(self, keys: Sequence[WaitKey]) -> bool:
        """Reveal notifications in order until one of `keys` is there; False: not yet.

        Raises:
            Cancelled: a cancellation came first. It is raised once; what follows is revealed later.
        """
        completed = self.completed
        for key in keys:
            if key in completed:
                return True
        while self._arrived:
            if self._reveal_next() in keys:
                return True
        return False

    def reveal_all(self, keys: Sequence[WaitKey]) -> bool:
        """Reveal notifications in order until all of `keys` are there; False: not yet.

        Raises:
            Cancelled: a cancellation came before the last of them.
        """
        completed = self.completed
        missing = {key for key in keys if key not in completed}
        while missing:
            if not self._arrived:
                return False
            missing.discard(self._reveal_next())
        return True

    def _reveal_next(self) -> WaitKey:
        entry = self._arrived.popleft()
        key: WaitKey
        assert entry.cid is not None
        if entry.kind != Kind.SIGNAL or entry.name is None:
            if entry.cid == CANCEL:
                raise Cancelled
            key = entry.cid
        else:
            count = self._signals_revealed.get(entry.name, 0) + 1
            self._signals_revealed[entry.name] = count
            key = (entry.name, count)
        self.completed.setdefault(key, entry)
        return key

    def finish(self) -> None:
        """The handler ended.

        Raises:
            NonDeterminism: the journal holds commands that it did not reach.
        """
        if self._cursor < len(self._commands):
            recorded = self._commands[self._cursor]
            raise NonDeterminism(
                handler=self.handler,
                entry_index=recorded.idx,
                recorded=_described(recorded),
                attempted="the handler ended here",
            )


def _described(entry: Entry) -> str:
    shown = entry.value if entry.kind in _MATCH_VALUE else None
    return describe(entry.kind, entry.name, shown, idempotency_key(entry))
