"""Journal entries: commands (what a handler did) and notifications (what came back)."""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

import msgspec


class Kind(IntEnum):
    """The kinds of entries, as numbered in `howdah_core.journal.kind`.

    A notification has the number of its command plus `NOTIFICATION`.
    """

    INPUT = 1
    OUTPUT = 2
    RUN = 3
    SLEEP = 4
    CALL = 5
    SEND = 6
    GET_STATE = 7
    GET_STATE_KEYS = 8
    SET_STATE = 9
    CLEAR_STATE = 10
    CLEAR_ALL_STATE = 11
    GET_LAZY_STATE = 12
    GET_LAZY_STATE_KEYS = 13
    GET_PROMISE = 14
    PEEK_PROMISE = 15
    COMPLETE_PROMISE = 16
    SEND_SIGNAL = 17
    ATTACH = 18
    GET_OUTPUT = 19
    COMPLETE_AWAKEABLE = 20
    RUN_COMPLETED = 103
    SLEEP_COMPLETED = 104
    CALL_COMPLETED = 105
    INVOCATION_ID = 106
    GET_LAZY_STATE_COMPLETED = 112
    GET_LAZY_STATE_KEYS_COMPLETED = 113
    GET_PROMISE_COMPLETED = 114
    PEEK_PROMISE_COMPLETED = 115
    COMPLETE_PROMISE_COMPLETED = 116
    ATTACH_COMPLETED = 118
    GET_OUTPUT_COMPLETED = 119
    SIGNAL = 150


NOTIFICATION = 100
"""Kinds from here on are notifications."""

CANCEL = -1
"""The id of the signal that cancels an invocation."""
AWAKEABLE_FIRST = 17
"""Awakeables are signals numbered from here on; number n has the id -n."""
NAMED_FIRST = 1 << 28
"""Signals with a name have ids from here on, negative: see `signal_cid`."""


class Entry(NamedTuple):
    """One row of a journal, in the column order of `commit_batch`.

    Attributes:
        idx: Position in the journal, from 1 (entry 0 is the input, kept with the invocation).
        kind: A `Kind`.
        cid: The completion id that a command asks for and its notification carries. Negative for
            signals: see `CANCEL`, `AWAKEABLE_FIRST` and `signal_cid`.
        name: A label, a state key, a promise or a signal, or a call's target
            `Service/key/handler`.
        value: Payload bytes; null where there is none.
        ref: The callee's invocation id, for calls, sends and their ids.
        detail: JSON text of rare facts: a failure, a delay, headers.
    """

    idx: int
    kind: int
    cid: int | None
    name: str | None
    value: bytes | None
    ref: UUID | None
    detail: str | None


def signal_cid(name: str) -> int:
    """The id that mail for a named signal carries, and a suspended invocation waits for.

    Two names may share one (28 bits of a hash): then a wait ends early, and begins again. Names
    decide who gets what. Source: sql/functions/84_signals.sql, signal_cid.
    """
    digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    return -(NAMED_FIRST + int(digest[:7], 16))


_WORDS = {
    Kind.OUTPUT: "return",
    Kind.RUN: "run",
    Kind.SLEEP: "sleep",
    Kind.CALL: "call",
    Kind.SEND: "send",
    Kind.GET_STATE: "get state",
    Kind.GET_STATE_KEYS: "get state keys",
    Kind.SET_STATE: "set state",
    Kind.CLEAR_STATE: "clear state",
    Kind.CLEAR_ALL_STATE: "clear all state",
    Kind.GET_LAZY_STATE: "get state",
    Kind.GET_LAZY_STATE_KEYS: "get state keys",
    Kind.GET_PROMISE: "get promise",
    Kind.PEEK_PROMISE: "peek promise",
    Kind.COMPLETE_PROMISE: "complete promise",
    Kind.SEND_SIGNAL: "send signal",
    Kind.ATTACH: "attach to",
    Kind.GET_OUTPUT: "get output of",
    Kind.COMPLETE_AWAKEABLE: "complete awakeable",
}


def idempotency_key(entry: Entry) -> str | None:
    """The idempotency key of a call or send, or None. It takes a completion id of its own."""
    if entry.detail is None or entry.kind not in (Kind.CALL, Kind.SEND):
        return None
    key: str | None = msgspec.json.decode(entry.detail).get("idempotency_key")
    return key


def describe(
    kind: int, name: str | None, value: bytes | None = None, idempotency_key: str | None = None
) -> str:
    """One command in words, for the message that shows a mismatch: `set state "cart" = [1]`."""
    words = _WORDS.get(Kind(kind), f"entry of kind {kind}")
    if name:
        words += f" {name!r}"
    if idempotency_key:
        words += f" with idempotency key {idempotency_key!r}"
    if value is not None:
        shown = value[:80].decode("utf-8", "backslashreplace")
        words += f" with {shown}{'…' if len(value) > 80 else ''}"
    return words
