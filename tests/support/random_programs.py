"""Random handler programs: what they make, what they wait for, and what they saw.

A program is data: a list of operations that `execute` carries out with any verbs, a real context's or
those of a model. What it does next depends on what it saw, so two executions that see different
things part ways at once.

    ["make", kind]              a step, a failing step, a sleep, a call, an awakeable, a signal, …
    ["wait", how, [numbers]]    for some of the futures made so far, by their numbers
    ["if odd", [operations]]    when a digest of all that was seen is odd
"""

from __future__ import annotations

import random
import zlib
from typing import Any, Protocol, TypeAlias

from howdah import (
    Cancelled,
    DurableFuture,
    TerminalError,
    as_completed,
    gather,
    select,
    wait_completed,
)

Operation: TypeAlias = list[Any]

KINDS = [
    "step", "step", "failing step", "sleep", "sleep", "call", "call", "scoped call",
    "awakeable", "awakeable",
    "signal a", "signal a", "signal b", "promise p", "promise q", "peek p",
]  # fmt: skip
SCOPE = "room"
"""Where the scoped calls of all programs are counted."""
LEAVES = 3
"""Keys that the calls of all programs share."""
WAYS = ["one", "first", "all", "some", "each"]


class Verbs(Protocol):
    """What a program's operations become."""

    def make(self, kind: str, number: int) -> DurableFuture[Any]:
        """Begin something; `number` counts what was made."""
        ...


def random_program(numbers: random.Random, *, is_inner: bool = False) -> list[Operation]:
    """A program of a few operations, the same for the same numbers."""
    program: list[Operation] = []
    for _ in range(numbers.randint(1, 3) if is_inner else numbers.randint(3, 14)):
        drawn = numbers.random()
        if drawn < 0.45 or not program:
            program.append(["make", numbers.choice(KINDS)])
            if numbers.random() < 0.3:
                program.append(["wait", "one", [-1]])  # for what was made last
        elif drawn < 0.9 or is_inner:
            chosen = [numbers.randint(0, 11) for _ in range(numbers.randint(1, 4))]
            program.append(["wait", numbers.choice(WAYS), chosen])
        else:
            program.append(["if odd", random_program(numbers, is_inner=True)])
    return program


def count_of(program: list[Operation], kind: str) -> int:
    """How often a program makes something of this kind at most."""
    return sum(
        count_of(operation[1], kind) if operation[0] == "if odd" else operation[1] == kind
        for operation in program
        if operation[0] != "wait"
    )


async def execute(program: list[Operation], verbs: Verbs, seen: list[str]) -> None:
    """Carry out a program; what it sees is added to `seen`, as it comes."""
    await _execute(program, verbs, seen, [])
    seen.append("end")


async def _execute(
    program: list[Operation], verbs: Verbs, seen: list[str], made: list[DurableFuture[Any]]
) -> None:
    for operation in program:
        if operation[0] == "make":
            made.append(verbs.make(operation[1], len(made)))
        elif operation[0] == "wait":
            if made:
                # Each future once: names of a select are unique.
                numbers = sorted({number % len(made) for number in operation[2]})
                await _wait(operation[1], numbers, made, seen)
        elif zlib.crc32(repr(seen).encode()) & 1:
            await _execute(operation[1], verbs, seen, made)


async def _wait(
    how: str, numbers: list[int], made: list[DurableFuture[Any]], seen: list[str]
) -> None:
    futures = [made[number] for number in numbers]
    try:
        if how == "one":
            seen.append(f"{numbers[0]} is {await said(futures[0])}")
        elif how == "first":
            try:
                name, value = await select(**{f"f{number}": made[number] for number in numbers})
                seen.append(f"first {name} is {value}")
            except Cancelled:
                raise
            except TerminalError as error:
                seen.append(f"first failed: {error.message}")
        elif how == "all":
            done = [await said(future) for future in await gather(*futures)]
            seen.append(f"all are {', '.join(done)}")
        elif how == "some":
            some, _ = await wait_completed(*futures)
            found = [f"{made.index(future)} is {await said(future)}" for future in some]
            seen.append(f"some: {', '.join(found)}")
        else:
            async for future in as_completed(*futures):
                seen.append(f"next {made.index(future)} is {await said(future)}")
    except Cancelled:
        seen.append("cancelled")


async def said(future: DurableFuture[Any]) -> str:
    """What a future says: its value, or that it failed. A cancellation is raised."""
    try:
        return str(await future)
    except Cancelled:
        raise
    except TerminalError as error:
        return f"failure {error.message}"
