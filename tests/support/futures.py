"""Trees of futures for tests: as endpoints send them, and what resolves them by the protocol's table."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Final

from howdah.remote.futures import Combinator
from howdah.remote.wire import CLASSES

UNKNOWN, ANY, ALL = Combinator.UNKNOWN, Combinator.FIRST_COMPLETED, Combinator.ALL_COMPLETED
FIRST_SUCCEEDED: Final = Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED
ALL_SUCCEEDED: Final = Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED


def future(combinator: int, *children: int | bytes | str) -> bytes:
    """A future as bytes: numbers are completions, or signals if negative; texts are names."""
    message = CLASSES["Future"](combinator=combinator)
    for child in children:
        if isinstance(child, bytes):
            message.nested.append(child)
        elif isinstance(child, str):
            message.waiting_named_signals.append(child)
        elif child < 0:
            message.waiting_signals.append(-child)
        else:
            message.waiting_completions.append(child)
    payload: bytes = message.SerializeToString()
    return payload


def cancellable(*children: int | bytes | str) -> bytes:
    """As SDKs wrap what a handler waits for."""
    return future(ANY, -1, *children)


def nested(depth: int, *leaves: int) -> bytes:
    """Futures in futures."""
    payload = future(ALL, *(leaves or (1,)))
    for _ in range(depth - 1):
        payload = future(ALL, payload)
    return payload


def encoded(tree: Any) -> bytes:
    """A tree: a leaf, or a combinator and its operands."""
    combinator, children = tree if isinstance(tree, tuple) else (UNKNOWN, [tree])
    return future(combinator, *(one if isinstance(one, int) else encoded(one) for one in children))


def outcomes(
    tree: Any,
    there: AbstractSet[int],
    failed: AbstractSet[int],
    first: AbstractSet[int] = frozenset(),
) -> set[bool]:
    """What a tree may have come to: success, failure, either; nothing: it is pending.

    Args:
        tree: As in `encoded`.
        there: The leaves that are there.
        failed: Those of them that are failures.
        first: Those of them that came before the others.
    """
    if isinstance(tree, int):
        return {tree not in failed} if tree in there else set()
    combinator, children = tree
    found = [outcomes(child, there, failed, first) for child in children]
    done = [one for one in found if one]
    if combinator == ALL:
        return {True} if len(done) == len(found) else set()
    if combinator in (FIRST_SUCCEEDED, ALL_SUCCEEDED):
        decides = combinator == FIRST_SUCCEEDED
        if {decides} in done:
            return {decides}
        if {True, False} in done:
            return {True, False}
        return {not decides} if len(done) == len(found) else set()
    if combinator == ANY:
        before = [outcomes(child, first, failed) for child in children]
        return set().union(*before) or set().union(*done)
    return {True, False} if done else set()
