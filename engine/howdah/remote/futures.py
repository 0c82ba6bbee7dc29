"""What an endpoint waits for: a tree of futures, and what of it the database waits for. Pure.

The leaves are completions and signals; a node says how many of its children must be there. Most trees
are any, or all, of a set of ids. What else there is goes to the database as a tree of numbers, which
`howdah_core.is_resolved` reads; one that is too long for that is waited for as any of its leaves: the
endpoint may be woken too early then, and says again what it waits for, but never too late.

Source: sql/functions/24_is_resolved.sql, 25_is_satisfied.sql.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, IntEnum
from typing import Any, Final

from howdah.machine.entries import CANCEL, signal_cid
from howdah.remote.wire import CLASSES, ProtocolViolation

DEPTH_MAX: Final = 1000
"""How deep futures may be nested, as many as the protocol's own runtime takes."""
BYTES_MAX: Final = 1 << 20
"""How long one tree may be."""
READ_BYTES_MAX: Final = 16 << 20
"""How much is read of one tree, when its nested parts are counted again at each level."""
NODES_MAX: Final = 5_000
"""How many futures that have futures one tree may have."""
TREE_MAX: Final = 2048
"""How many numbers a tree may have for the database to evaluate it whenever mail comes."""
NODE: Final = -1_000_000_000
"""Numbers of a tree from here on down are nodes: the first, the second, …; no completion id is so low."""

PENDING: Final = 0
SUCCEEDED: Final = 1
FAILED: Final = 2
EITHER: Final = SUCCEEDED | FAILED
"""What a node has come to; `EITHER`: only the endpoint can say which, so it decides as both."""

_Future: Final = CLASSES["Future"]


class TooDeep(ProtocolViolation):
    """Futures are nested deeper than `DEPTH_MAX`."""


class Combinator(IntEnum):
    """When a node of the tree is resolved. What has another number is as `UNKNOWN`.

    `UNKNOWN` is resolved by any of its children, and nobody but the endpoint knows whether it has
    succeeded then; of `FIRST_COMPLETED` it is known, if those that are there are alike.
    """

    UNKNOWN = 0
    FIRST_COMPLETED = 1
    ALL_COMPLETED = 2
    FIRST_SUCCEEDED_OR_ALL_FAILED = 3
    ALL_SUCCEEDED_OR_FIRST_FAILED = 4


class _Shape(Enum):
    """What resolves a node that is pending, of all leaves below it."""

    ANY = 0
    ALL = 1
    MIXED = 2


_SHAPES: Final[Mapping[int, _Shape]] = {
    Combinator.UNKNOWN: _Shape.ANY,
    Combinator.FIRST_COMPLETED: _Shape.ANY,
    Combinator.ALL_COMPLETED: _Shape.ALL,
    Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED: _Shape.MIXED,
    Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED: _Shape.MIXED,
}


class _Node:
    __slots__ = ("children", "combinator", "leaves")

    def __init__(self, combinator: int, leaves: list[int]) -> None:
        self.combinator = combinator
        self.leaves = leaves
        self.children: list[int] = []


class Wait:
    """What of a tree is still to come, as the database waits for it.

    Attributes:
        is_resolved: Whether the endpoint could go on with what is there.
        ids: What is not there, as completion ids; negative: signals.
        is_all: Whether all of `ids` are needed, and not one of them.
        tree: When they suffice, if it is neither: for each node, children first, its combinator, how
            many operands it has, and these: completion ids, or `NODE` less the number of a node before.
    """

    __slots__ = ("ids", "is_all", "is_resolved", "tree")

    def __init__(
        self,
        ids: set[int],
        *,
        is_resolved: bool = False,
        is_all: bool = False,
        tree: tuple[int, ...] | None = None,
    ) -> None:
        self.ids = ids
        self.is_resolved = is_resolved
        self.is_all = is_all
        self.tree = tree


class Tree:
    """What an endpoint waits for.

    Attributes:
        completions: The completion ids in it.
        signals: The numbers of signals in it.
        names: The names of signals in it.
    """

    __slots__ = ("_nodes", "completions", "names", "signals")

    def __init__(self) -> None:
        self._nodes: list[_Node] = []
        self.completions: set[int] = set()
        self.signals: set[int] = set()
        self.names: set[str] = set()

    @property
    def ids(self) -> set[int]:
        """All leaves, as completion ids; negative: signals."""
        return (
            self.completions
            | {-number for number in self.signals}
            | {signal_cid(name) for name in self.names}
        )

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, message: Any, combinator: int) -> _Node:
        """Add a node with the leaves that a message lists; parents come before their children."""
        completions, signals = message.waiting_completions, message.waiting_signals
        names = message.waiting_named_signals
        leaves = [*completions, *(-n for n in signals), *(signal_cid(name) for name in names)]
        self.completions.update(completions)
        self.signals.update(signals)
        self.names.update(names)
        node = _Node(combinator, leaves)
        self._nodes.append(node)
        return node

    def note(self, ids: set[int]) -> str | None:
        """The names of those of these ids that are signals with a name, as the database keeps them."""
        names = sorted(name for name in self.names if signal_cid(name) in ids)
        return ", ".join(f"signal {name}" for name in names) or None

    def left(self, is_there: Callable[[int], bool], has_failed: Callable[[int], bool]) -> Wait:
        """What is still to come, when some of it is there.

        Args:
            is_there: Whether a leaf is in the journal.
            has_failed: Whether one that is there is a failure.
        """
        pending: dict[int, _Pending] = {}
        results: dict[int, int] = {}
        for place in range(len(self._nodes) - 1, -1, -1):
            node = self._nodes[place]
            found = {results[child] for child in node.children if child in results}
            leaves: list[int] = []
            for leaf in dict.fromkeys(node.leaves):
                if is_there(leaf):
                    found.add(FAILED if has_failed(leaf) else SUCCEEDED)
                else:
                    leaves.append(leaf)
            children = [child for child in node.children if child in pending]
            result = _combined(node.combinator, found, bool(leaves or children))
            if result == PENDING:
                pending[place] = _merged(node.combinator, leaves, children, pending)
            else:
                results[place] = result
        if 0 in results:
            return Wait({leaf for leaf in self.ids if not is_there(leaf)}, is_resolved=True)
        root = pending[0]
        if not root.ids:
            return Wait({CANCEL})  # nothing resolves it, and a cancellation wakes always
        tree = _numbered(pending) if root.shape is _Shape.MIXED else None
        return Wait(root.ids, is_all=root.shape is _Shape.ALL, tree=tree)


class _Pending:
    """A node that is not resolved: the ids below it, and its own operands that are not there."""

    __slots__ = ("children", "combinator", "ids", "leaves", "shape")

    def __init__(
        self, combinator: int, leaves: list[int], children: list[int], ids: set[int], shape: _Shape
    ) -> None:
        self.combinator = combinator
        self.leaves = leaves
        self.children = children
        self.ids = ids
        self.shape = shape

    def is_like(self, shape: _Shape) -> bool:
        """Whether its parent, of this shape, may treat the ids below it as its own."""
        return self.shape is shape or (len(self.ids) == 1 and self.shape is _Shape.ANY)


def _combined(combinator: int, found: set[int], is_pending: bool) -> int:
    """What a node is, given what those of its operands are that are there, and whether others are not."""
    if combinator == Combinator.ALL_COMPLETED:
        return PENDING if is_pending else SUCCEEDED
    if combinator == Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED:
        return _decided(SUCCEEDED, found, is_pending)
    if combinator == Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED:
        return _decided(FAILED, found, is_pending)
    if combinator == Combinator.UNKNOWN and found:
        return EITHER
    result = PENDING
    for one in found:
        result |= one
    return result


def _decided(first: int, found: set[int], is_pending: bool) -> int:
    """`first` as soon as an operand is that, its opposite if all are."""
    if first in found:
        return first
    if EITHER in found:
        return EITHER
    return PENDING if is_pending else EITHER - first


def _merged(
    combinator: int, leaves: list[int], children: list[int], pending: dict[int, _Pending]
) -> _Pending:
    """A node that is not resolved. The largest of the sets is taken over, so that deep trees cost no more."""
    shape = _SHAPES[combinator]
    if shape is _Shape.ANY and (children or len(leaves) > 1) and CANCEL in leaves:
        leaves.remove(CANCEL)
    is_alone = not leaves and len(children) == 1
    if is_alone and combinator not in (Combinator.ALL_COMPLETED, Combinator.UNKNOWN):
        return pending[children[0]]  # it comes to the same
    below = [pending[child] for child in children]
    if is_alone:
        shape = below[0].shape
    elif len(leaves) == 1 and not below:
        shape = _Shape.ANY
    elif not leaves and not below:
        shape = _Shape.MIXED  # nothing resolves it
    elif not all(one.is_like(shape) for one in below):
        shape = _Shape.MIXED
    sets = [set(leaves), *(one.ids for one in below)]
    ids = max(sets, key=len)
    for some in sets:
        if some is not ids:
            ids |= some
    return _Pending(combinator, leaves, children, ids, shape)


def _numbered(pending: dict[int, _Pending]) -> tuple[int, ...] | None:
    """A tree as the database takes it; None: it is too long."""
    order: list[_Pending] = []
    waiting = [pending[0]]
    for one in waiting:
        order.append(one)
        waiting.extend(pending[child] for child in one.children)
        if len(waiting) > TREE_MAX:
            return None
    places = {id(one): place for place, one in enumerate(reversed(order))}
    numbers: list[int] = []
    for one in reversed(order):
        operands = [*one.leaves, *(NODE - places[id(pending[child])] for child in one.children)]
        numbers += [one.combinator, len(operands), *operands]
        if len(numbers) > TREE_MAX:
            return None
    return tuple(numbers)


def read_lists(message: Any) -> Tree:
    """What a suspension of the versions before 7 lists: one of all that is in it."""
    tree = Tree()
    tree.add(message, Combinator.UNKNOWN)
    return tree


def read_future(payload: bytes) -> Tree:
    """A future as it is on the wire, from version 7 on.

    Raises:
        TooDeep: it is nested too deep.
        ProtocolViolation: it cannot be read, or is too large.
    """
    tree = Tree()
    if len(payload) > BYTES_MAX:
        raise ProtocolViolation(f"it waits for a future of more than {BYTES_MAX} bytes")
    left = READ_BYTES_MAX
    waiting: list[tuple[bytes, _Node | None, int]] = [(payload, None, 1)]
    while waiting:
        piece, parent, depth = waiting.pop()
        left -= len(piece)
        if depth > DEPTH_MAX:
            raise TooDeep(f"it waits for futures that are nested more than {DEPTH_MAX} deep")
        if left < 0 or len(tree) >= NODES_MAX:
            raise ProtocolViolation("it waits for more futures than can be read")
        try:
            message = _Future.FromString(piece)
        except Exception as error:
            raise ProtocolViolation(f"a future cannot be read: {error}") from error
        if parent is not None:
            parent.children.append(len(tree))
        known = message.combinator in _SHAPES
        node = tree.add(message, message.combinator if known else Combinator.UNKNOWN)
        waiting.extend((nested, node, depth + 1) for nested in reversed(message.nested))
    return tree
