"""Which version of the service protocol an invocation is executed with. Pure.

What is new begins with the highest version that the endpoint and this process speak. From its first
command on an invocation keeps its version, whatever the option says later: the endpoint replays by
it. That command says which, unless it is the one of most journals; nothing else needs to be written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from howdah.machine.entries import NOTIFICATION, Entry

OLDEST: Final = 5
NEWEST: Final = 7
"""Versions that howdah speaks."""
UNMARKED: Final = 6
"""The version of a journal whose first command names none."""
MARK: Final = "protocol"
"""Where the detail of the first command keeps the version."""


class VersionMismatch(Exception):
    """There is no version in which this invocation can be executed.

    Attributes:
        code: The condition by the name that the service protocol has for it, RT….
    """

    def __init__(self, code: str, problem: str) -> None:
        super().__init__(problem)
        self.code: Final = code


def recorded_version(journal: Iterable[Entry]) -> int | None:
    """The version that a journal was begun with; None: it has no command yet."""
    for entry in journal:
        if entry.kind < NOTIFICATION:
            if entry.detail is None:
                return UNMARKED
            facts: dict[str, Any] = msgspec.json.decode(entry.detail)
            version: int = facts.get(MARK, UNMARKED)
            return version
    return None


def choose_version(recorded: int | None, low: int, high: int, newest: int) -> int:
    """The version for the next attempt.

    Args:
        recorded: What the journal was begun with, if anything.
        low: The oldest version that the endpoint speaks.
        high: The newest.
        newest: The option: what is new may begin with at most this.

    Raises:
        VersionMismatch: RT0014: the endpoint does not speak what the journal was begun with; RT0013: it
            speaks only versions above the option.
    """
    if recorded is None:
        if low > newest:
            raise VersionMismatch(
                "RT0013",
                f"it speaks versions {low} to {high} of the service protocol, and invocations begin"
                f" with at most {newest}: raise HOWDAH_REMOTE_PROTOCOL_MAX",
            )
        return min(high, newest)
    if recorded == UNMARKED:
        # Journals of endpoints that speak only older ones were not marked at first.
        recorded = min(recorded, high)
    if not low <= recorded <= high:
        raise VersionMismatch(
            "RT0014",
            f"the invocation was begun with version {recorded} of the service protocol, and it speaks"
            f" {low} to {high}",
        )
    return recorded
