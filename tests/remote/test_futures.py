"""Trees of futures: what the database can wait for, what is early, and what nobody can read."""

from collections.abc import Iterable
from itertools import chain, combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah.machine.entries import signal_cid
from howdah.remote.futures import (
    BYTES_MAX,
    DEPTH_MAX,
    NODE,
    NODES_MAX,
    TREE_MAX,
    Combinator,
    TooDeep,
    Tree,
    Wait,
    read_future,
    read_lists,
)
from howdah.remote.wire import CLASSES, ProtocolViolation, Type, parse
from support.futures import (
    ALL,
    ALL_SUCCEEDED,
    ANY,
    FIRST_SUCCEEDED,
    UNKNOWN,
    cancellable,
    encoded,
    future,
    nested,
    outcomes,
)


def left(payload: bytes, there: Iterable[int] = (), failed: Iterable[int] = ()) -> Any:
    """What is left of a future: ids, and whether all are needed, or which; or that it is resolved."""
    gone, lost = {*there, *failed}, set(failed)
    wait = read_future(payload).left(gone.__contains__, lost.__contains__)
    if wait.is_resolved:
        return "resolved"
    return wait.ids, wait.is_all if wait.tree is None else list(wait.tree)


@pytest.mark.parametrize(
    ("payload", "there", "expected"),
    [
        (cancellable(2), [], ({2}, False)),
        (cancellable(2), [2], "resolved"),
        (cancellable(future(ANY, 1, 2)), [], ({1, 2}, False)),
        (cancellable(future(ALL, 1, 2, 3)), [], ({1, 2, 3}, True)),
        (cancellable(future(ALL, 1, 2, 3)), [1], ({2, 3}, True)),
        (cancellable(future(ALL, 1, 2, 3)), [1, 3], ({2}, False)),
        (cancellable(future(ALL, 1, 2, 3)), [1, 2, 3], "resolved"),
        (cancellable(future(ALL, 1, future(ALL, 2, 3))), [], ({1, 2, 3}, True)),
        (cancellable(future(ALL, 1, future(ANY, 2))), [], ({1, 2}, True)),
        (cancellable(future(ALL, 1, -17, "go")), [], ({1, -17, signal_cid("go")}, True)),
        (future(ANY, -1), [], ({-1}, False)),
        (future(ANY, -1), [-1], "resolved"),
        (cancellable(future(ALL)), [], "resolved"),
        (future(99, 1, 2), [], ({1, 2}, False)),
        (cancellable(future(ANY, 1, future(ALL, 2))), [], ({1, 2}, False)),
        (cancellable(future(ALL, 1, future(ANY))), [], ({1}, [1, 0, 2, 2, 1, NODE])),
        (cancellable(future(ANY)), [], ({-1}, False)),
        (
            cancellable(future(ALL, 1, future(ANY, 2, 3))),
            [],
            ({1, 2, 3}, [1, 2, 2, 3, 2, 2, 1, NODE]),
        ),
        (
            cancellable(future(ANY, 1, future(ALL, 2, 3))),
            [],
            ({1, 2, 3}, [2, 2, 2, 3, 1, 2, 1, NODE]),
        ),
        (cancellable(future(ANY, 1, future(ALL, 2, 3))), [2], ({1, 3}, False)),
        (cancellable(future(ANY, 1, future(ALL, 2, 3))), [2, 3], "resolved"),
        (cancellable(future(FIRST_SUCCEEDED, 1, 2)), [], ({1, 2}, [3, 2, 1, 2])),
        (cancellable(future(ALL_SUCCEEDED, 1, 2)), [], ({1, 2}, [4, 2, 1, 2])),
        (cancellable(future(ALL_SUCCEEDED, 1, 2)), [1], ({2}, False)),
        (cancellable(future(ALL_SUCCEEDED, 1, 2)), [1, 2], "resolved"),
        (cancellable(future(FIRST_SUCCEEDED, 1, 2)), [1], "resolved"),
        # That all have completed is a success, whatever each of them is.
        (
            future(ALL_SUCCEEDED, 1, future(ALL, future(ANY, 2, 3))),
            [],
            ({1, 2, 3}, [1, 2, 2, 3, 2, 1, NODE, 4, 2, 1, NODE - 1]),
        ),
    ],
)
def test_what_is_waited_for(payload: bytes, there: list[int], expected: Any) -> None:
    assert left(payload, there) == expected


@pytest.mark.parametrize(
    ("payload", "failed", "expected"),
    [
        (future(ALL, 1, 2), [1], ({2}, False)),
        (future(FIRST_SUCCEEDED, 1, 2), [1], ({2}, False)),
        (future(FIRST_SUCCEEDED, 1, 2), [1, 2], "resolved"),
        (future(ALL_SUCCEEDED, 1, 2), [1], "resolved"),
        (future(FIRST_SUCCEEDED, 3, future(ALL_SUCCEEDED, 1, 2)), [1], ({3}, False)),
        (future(ALL_SUCCEEDED, 3, future(ANY, 1, 2)), [1], "resolved"),
    ],
)
def test_what_failed_decides(payload: bytes, failed: list[int], expected: Any) -> None:
    assert left(payload, failed=failed) == expected


def test_what_cannot_be_told_apart_wakes() -> None:
    for either in (
        future(UNKNOWN, 1),
        future(ANY, 1, 2),
        future(ALL_SUCCEEDED, 4, future(UNKNOWN, 1)),
    ):
        assert left(future(ALL_SUCCEEDED, 3, either), [1], [2]) == "resolved"
        assert left(future(FIRST_SUCCEEDED, 3, either), [2], [1]) == "resolved"
    assert left(future(FIRST_SUCCEEDED, 3, future(ANY, 1, 2)), [], [1, 2]) == ({3}, False)


def test_lists_are_one_of_all() -> None:
    message = CLASSES["Suspension"](
        waiting_completions=[1, 2], waiting_signals=[1, 17], waiting_named_signals=["go"]
    )

    tree = read_lists(message)
    wait = tree.left(lambda cid: False, lambda cid: False)

    assert (wait.ids, wait.is_all) == ({1, 2, -17, signal_cid("go")}, False)
    assert tree.ids == wait.ids | {-1}
    assert tree.note(wait.ids) == "signal go"
    assert tree.note({1}) is None


leaves = st.integers(1, 5)
trees = st.recursive(
    leaves,
    lambda children: st.tuples(st.sampled_from(Combinator), st.lists(children, max_size=4)),
    max_leaves=12,
)


def subsets(of: Iterable[int]) -> Iterable[tuple[int, ...]]:
    some = sorted(of)
    return chain.from_iterable(combinations(some, size) for size in range(len(some) + 1))


def ends(wait: Wait, come: set[int], failed: set[int]) -> bool:
    """Whether a wait ends when this comes."""
    if wait.tree is None:
        return wait.ids <= come if wait.is_all else bool(wait.ids & come)
    nodes: list[Any] = []
    numbers = list(wait.tree)
    while numbers:
        combinator, count = numbers[:2]
        operands = [nodes[NODE - one] if one <= NODE else one for one in numbers[2 : 2 + count]]
        nodes.append((combinator, operands))
        del numbers[: 2 + count]
    return bool(outcomes(nodes[-1], come, failed))


@given(trees, st.frozensets(leaves), st.frozensets(leaves))
def test_a_wait_ends_when_its_tree_is_resolved_and_not_before(
    tree: Any, there: frozenset[int], failed: frozenset[int]
) -> None:
    read = read_future(encoded(tree))
    wait = read.left(there.__contains__, failed.__contains__)

    assert wait.is_resolved == bool(outcomes(tree, there, failed))
    if wait.is_resolved:
        return
    assert not wait.ids & there
    for come in map(set, subsets(read.ids - there)):
        is_resolved = bool(outcomes(tree, there | come, failed, there))
        assert ends(wait, come, set(failed)) == is_resolved, (
            wait.ids,
            wait.is_all,
            wait.tree,
            come,
        )


def test_a_tree_that_is_too_long_is_waited_for_as_any_of_its_leaves() -> None:
    some = [future(ANY, 2 * n, 2 * n + 1) for n in range(1, TREE_MAX // 5)]

    shorter, longer = left(future(ALL, *some)), left(future(ALL, *some, *some))

    assert len(shorter[1]) <= TREE_MAX
    assert longer == (shorter[0], False)


def test_futures_are_nested_as_deep_as_the_protocol_allows() -> None:
    assert left(nested(DEPTH_MAX)) == ({1}, False)
    with pytest.raises(TooDeep, match=str(DEPTH_MAX)):
        read_future(nested(DEPTH_MAX + 1))


def test_a_message_may_hold_such_a_future() -> None:
    suspension = CLASSES["Suspension"](awaiting_on=nested(DEPTH_MAX)).SerializeToString()

    assert read_future(parse(Type.SUSPENSION, suspension).awaiting_on).completions == {1}


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff",
        b"\x22\x05\x08",
        future(ANY, b"\xff"),
        b"\x1a\x01\xff",
        future(ANY, *range(1, BYTES_MAX // 2)),
        future(ANY, *[b""] * (NODES_MAX + 1)),
        nested(DEPTH_MAX // 2, *range(1, 1 << 16)),
    ],
)
def test_what_is_no_future_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        read_future(payload)


@given(st.binary(max_size=200))
def test_any_payload_is_a_future_or_a_violation(payload: bytes) -> None:
    try:
        tree = read_future(payload)
    except ProtocolViolation:
        return
    assert isinstance(tree, Tree)
    tree.left(lambda cid: cid % 2 == 0, lambda cid: cid % 3 == 0)
