"""Whatever the order of commits, mail, timers and crashes: a replay sees what was seen."""

import random
import re
from collections import Counter

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from howdah.machine.entries import Kind
from support.models import Journaled, Surroundings, replay
from support.random_programs import random_program

SEEDS = st.integers(min_value=0, max_value=2**32)


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=SEEDS)
@example(seed=0)
def test_every_attempt_sees_what_those_before_it_saw(seed: int) -> None:
    program = random_program(random.Random(seed))
    surroundings = Surroundings(program, seed)

    final = surroundings.run()

    for history in surroundings.histories:
        assert history == final[: len(history)], "an attempt saw something else"
    journal = surroundings.invocation.journal
    assert [entry.idx for entry in journal] == list(range(1, len(journal) + 1))
    # The journal alone says the same, and nothing is left to be done.
    assert replay(program, journal) == (final, [])
    assert_one_value_each(final)
    assert_executed_once_recorded(surroundings.invocation)
    # A part of it says a part of the same.
    for length in range(len(journal)):
        seen, _ = replay(program, journal[:length])
        assert seen == final[: len(seen)]


def assert_one_value_each(seen: list[str]) -> None:
    """A future has one value, however often and wherever it is awaited."""
    values: dict[str, str] = {}
    for text in seen:
        for number, value in re.findall(r"\bf?(\d+) is ([^,]*)", text):
            assert values.setdefault(number, value) == value


def assert_executed_once_recorded(invocation: Journaled) -> None:
    """A step whose result is recorded was not executed again: that execution was the last."""
    for entry in invocation.journal:
        if entry.kind == Kind.RUN_COMPLETED and entry.value is not None:
            assert entry.cid is not None
            assert entry.value == b'"run %d"' % invocation.executed[entry.cid]


def test_the_seeds_reach_what_they_are_for() -> None:
    words: Counter[str] = Counter()
    for seed in range(300):
        surroundings = Surroundings(random_program(random.Random(seed)), seed)
        words.update(text.split()[0] for text in surroundings.run())
        words["attempts"] += len(surroundings.histories)
        signals = [entry.name for entry in surroundings.invocation.journal if entry.name]
        words["signals of one name"] += signals.count("signal a") > 1

    assert words["attempts"] > 1000
    assert min(words[word] for word in ("cancelled", "first", "all", "some:", "next")) > 50
    assert words["signals of one name"] > 50
