"""Journal entries: commands (what a handler did) and notifications (what came back)."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple
from uuid import UUID


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
    RUN_COMPLETED = 103
    SLEEP_COMPLETED = 104
    CALL_COMPLETED = 105
    INVOCATION_ID = 106


NOTIFICATION = 100
"""Kinds from here on are notifications."""


class Entry(NamedTuple):
    """One row of a journal, in the column order of `commit_batch`.

    Attributes:
        idx: Position in the journal, from 1 (entry 0 is the input, kept with the invocation).
        kind: A `Kind`.
        cid: The completion id that a command asks for and its notification carries.
        name: A label, a state key, or a call's target `Service/key/handler`.
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
}


def describe(kind: int, name: str | None, value: bytes | None = None) -> str:
    """One command in words, for the message that shows a mismatch: `set state "cart" = [1]`."""
    words = _WORDS.get(Kind(kind), f"entry of kind {kind}")
    if name:
        words += f" {name!r}"
    if value is not None:
        shown = value[:80].decode("utf-8", "backslashreplace")
        words += f" with {shown}{'…' if len(value) > 80 else ''}"
    return words
