"""Trees of futures in the database: what resolves them, and how they are shown."""

import json
from random import Random
from typing import Any, TypeAlias

import asyncpg
import pytest

from howdah.machine.entries import signal_cid
from howdah.remote.futures import FAILED, NODE, SUCCEEDED, Combinator, Wait, read_future
from support.futures import (
    ALL,
    ALL_SUCCEEDED,
    ANY,
    FIRST_SUCCEEDED,
    UNKNOWN,
    cancellable,
    encoded,
    future,
    outcomes,
)

Database: TypeAlias = "asyncpg.Connection[Any]"

IS_RESOLVED = "select howdah_core.is_resolved($1, $2, $3)"
SHOWN = "select howdah_core.awaited_json($1, $2, $3, $4)"


def waited_for(payload: bytes) -> Wait:
    return read_future(payload).left(lambda cid: False, lambda cid: False)


def some_tree(numbers: Random, depth: int) -> Any:
    if depth == 0 or numbers.random() < 0.3:
        return numbers.randint(1, 6)
    children = [some_tree(numbers, depth - 1) for _ in range(numbers.randint(0, 4))]
    return numbers.choice(list(Combinator)), children


@pytest.mark.parametrize("seed", range(5))
async def test_the_database_resolves_trees_as_the_protocol_does(db: Database, seed: int) -> None:
    numbers = Random(seed)
    count = 0
    while count < 100:
        tree = some_tree(numbers, 4)
        wait = waited_for(encoded(tree))
        if wait.tree is None:
            continue
        count += 1
        come = numbers.sample(range(1, 7), numbers.randint(0, 6))
        failed = {cid for cid in come if numbers.random() < 0.5}
        results = [FAILED if cid in failed else SUCCEEDED for cid in come]

        found = await db.fetchval(IS_RESOLVED, wait.tree, come, results)

        assert found == bool(outcomes(tree, set(come), failed)), (tree, come, failed)


async def test_the_first_of_two_results_counts(db: Database) -> None:
    tree = waited_for(encoded((ALL_SUCCEEDED, [1, 2]))).tree

    assert await db.fetchval(IS_RESOLVED, tree, [1, 1], [FAILED, SUCCEEDED])
    assert not await db.fetchval(IS_RESOLVED, tree, [1, 1], [SUCCEEDED, FAILED])
    assert not await db.fetchval(IS_RESOLVED, tree, None, None)


def single(leaf: str, value: int | str) -> Any:
    return {"Single": {leaf: value}}


ONE, TWO, CANCELLED = (
    single("CompletionId", 1),
    single("CompletionId", 2),
    single("SignalIndex", 1),
)


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (cancellable(2, 1, -17, "go"), [
            ONE, TWO, CANCELLED, single("SignalIndex", 17), single("SignalName", "go"),
        ]),
        (cancellable(future(ALL, 1, 2)), [{"AllCompleted": [ONE, TWO]}, CANCELLED]),
        (
            cancellable(future(FIRST_SUCCEEDED, 1, future(ALL_SUCCEEDED, 2, "go"))),
            [
                {"FirstSucceededOrAllFailed": [
                    ONE, {"AllSucceededOrFirstFailed": [TWO, single("SignalName", "go")]},
                ]},
                CANCELLED,
            ],
        ),
        (
            future(ALL, future(UNKNOWN, 1, 2), future(ANY, -17, 1)),
            [
                {"AllCompleted": [
                    {"Unknown": [ONE, TWO]},
                    {"FirstCompleted": [ONE, single("SignalIndex", 17)]},
                ]},
                CANCELLED,
            ],
        ),
    ],
)  # fmt: skip
async def test_what_is_waited_for_is_shown_as_a_tree(
    db: Database, payload: bytes, shown: Any
) -> None:
    tree = read_future(payload)
    wait = waited_for(payload)

    text = await db.fetchval(SHOWN, list(wait.ids), wait.is_all, wait.tree, tree.note(wait.ids))

    assert json.loads(text) == {"Unknown": shown}


async def test_no_completion_id_is_taken_for_a_node(db: Database) -> None:
    lowest = await db.fetchval("select -(268435456 + x'fffffff'::int)")

    assert NODE < lowest <= signal_cid("go")
