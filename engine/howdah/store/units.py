"""What the commit lane carries: a unit for each invocation with something to write.

A unit is one invocation's slice of a batch. It stays together until it is committed: a busy unit
goes into the next batch with what was added meanwhile, in order.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from howdah.machine.entries import Entry
from howdah.store.registry import HandlerRow

if TYPE_CHECKING:
    from howdah.worker.attempt import Attempt


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended.

    Attributes:
        outcome: 'succeeded', 'failed' or 'killed'.
        value: The output's bytes.
        code, message, metadata: The failure, None when it succeeded.
        expires_at: Until when it is kept; None on the first, live completion.
        handler_no: The handler's number.
    """

    id: UUID
    outcome: str
    value: bytes
    code: int | None
    message: str | None
    metadata: dict[str, str] | None
    expires_at: datetime | None
    handler_no: int | None = None


@dataclass(slots=True)
class Record:
    """An invocation's facts, as an attempt needs them.

    Attributes:
        attempts: By the invocation's retry policy, with this one.
        failures: How many attempts failed since it last recorded a command, by whatever policy.
        failing_ms: For how long that lasts already.
        scope, limit_key: In which scope it was called, and under what it is counted there.
    """

    id: UUID
    handler_no: int
    key: str | None
    epoch: int
    attempts: int
    input: bytes
    headers: str | None
    parent_id: UUID | None
    parent_cid: int | None
    origin: int | None
    idempotency_key: str | None
    state: dict[str, bytes] = field(default_factory=dict)
    is_partial: bool = False
    seed: UUID | None = None
    deployment: int | None = None
    journal: list[Entry] = field(default_factory=list)
    sleeps: dict[int, datetime] = field(default_factory=dict)
    failures: int = 0
    failing_ms: int = 0
    scope: str | None = None
    limit_key: str | None = None


@dataclass(slots=True)
class NewInvocation:
    """An invocation to be created: a request from outside, or a handler's call or send.

    With a scope it is never granted: `claim_limited` says when it begins.
    """

    id: UUID
    handler: HandlerRow
    key: str | None
    is_exclusive: bool
    cid: int | None
    input: bytes
    headers: str | None
    idempotency_key: str | None
    delay: timedelta | None
    is_granted: bool
    waits: bool
    accepted: asyncio.Future[Any] | None = None
    parent_id: UUID | None = None
    existing: UUID | None = None
    execution_time: datetime | None = None
    scope: str | None = None
    limit_key: str | None = None

    @property
    def size(self) -> int:
        """Payload bytes."""
        return len(self.input)


@dataclass(slots=True)
class Mail:
    """A notification for an invocation that is not resident in this process, or a signal."""

    target: UUID
    kind: int
    cid: int
    value: bytes | None
    detail: str | None
    name: str | None = None


@dataclass(slots=True)
class Delivery:
    """Mail from outside: an awakeable resolved over HTTP, a signal of an operator."""

    mail: Mail
    accepted: asyncio.Future[None]

    @property
    def size(self) -> int:
        """Payload bytes."""
        return len(self.mail.value or b"")


@dataclass(slots=True)
class Ask:
    """What a handler asks of the database; the answer is mail to itself (kind + 100).

    Attributes:
        kind: GET_LAZY_STATE, GET_LAZY_STATE_KEYS, GET_PROMISE, PEEK_PROMISE, COMPLETE_PROMISE,
            ATTACH or GET_OUTPUT.
        name: The state entry or the promise.
        target: The invocation to attach to.
        value, detail: What completes a promise.
    """

    kind: int
    cid: int
    name: str | None = None
    target: UUID | None = None
    value: bytes | None = None
    detail: str | None = None


@dataclass(slots=True)
class Final:
    """How an attempt ends: with an outcome ('D') or by giving the lease back ('S')."""

    letter: str
    outcome: Outcome | None = None
    retention: timedelta = timedelta(0)
    journal_retention: timedelta = timedelta(0)
    holds_key: bool = False
    status: str = ""
    run_at: datetime | None = None
    delay: timedelta | None = None
    wait_ids: tuple[int, ...] | None = None
    wait_all: bool = False
    wait_tree: tuple[int, ...] | None = None
    wait_note: str | None = None
    queue: int | None = None
    is_uncounted: bool = False
    is_at_once: bool = False
    failure: str | None = None


class Unit:
    """One invocation's slice of a batch."""

    __slots__ = (
        "asks",
        "attempt",
        "calls",
        "clears_all",
        "consumed",
        "entries",
        "final",
        "is_queued",
        "mail",
        "refusals",
        "tied",
        "wants_clock",
        "writes",
    )

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.entries: list[Entry] = []
        self.consumed: list[int] = []
        self.writes: dict[str, bytes | None] = {}
        self.clears_all = False
        self.calls: list[NewInvocation] = []
        self.mail: list[Mail] = []
        self.asks: list[Ask] = []
        self.tied: list[Unit] = []
        self.final: Final | None = None
        self.wants_clock = False
        self.is_queued = False
        self.refusals = 0

    @property
    def size(self) -> int:
        """Payload bytes: whatever is large is in an entry."""
        size = 0
        for entry in self.entries:
            if entry.value is not None:
                size += len(entry.value)
        return size

    def absorb(self, later: Unit) -> None:
        """Take over what was added while this unit was on its way."""
        self.entries += later.entries
        self.consumed += later.consumed
        if later.clears_all:
            self.clears_all = True
            self.writes = later.writes
        else:
            self.writes.update(later.writes)
        self.calls += later.calls
        self.mail += later.mail
        self.asks += later.asks
        for other in later.tied:
            other.tied = [self if unit is later else unit for unit in other.tied]
            self.tied.append(other)
        self.final = later.final or self.final
        self.wants_clock = self.wants_clock or later.wants_clock
