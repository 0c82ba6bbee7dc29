"""An invocation's journal, as a test reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

JOURNAL = """
select j.index, j.type, j.name, j.target, j.value, j.failure, j.completes
  from howdah.journal j where j.invocation_id = $1 order by j.index
"""
_VALUE_CHARACTERS_MAX = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        index: Its place; 0 is the input.
        type: In words, as in the view howdah.journal: `run`, `sleep`, `call`, `run completed`.
        name: Its name, where it has one: of a step, a state entry, a promise, a signal.
        target: For a call or a send: `Service/handler` or `Service/key/handler`.
        value: The value as text.
        failure: The failure as text, where it is one.
        completes: For a completion, the index of its command.
    """

    index: int
    type: str
    name: str | None
    target: str | None
    value: str | None
    failure: str | None
    completes: int | None

    def __str__(self) -> str:
        said = " ".join(word for word in (self.type, self.name, self.target) if word)
        value = f"failed: {self.failure}" if self.failure is not None else self.value
        if not value:
            return f"{self.index:>3}  {said}"
        if len(value) > _VALUE_CHARACTERS_MAX:
            value = f"{value[: _VALUE_CHARACTERS_MAX - 1]}…"
        return f"{self.index:>3}  {said:<32} {value}"


class Journal(tuple[Entry, ...]):
    """The entries in order; as a text, one a line."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(str(entry) for entry in self)

    def steps(self) -> list[str]:
        """The names of the steps, in the order in which they began."""
        return [entry.name or "" for entry in self if entry.type == "run"]


def journal_of(rows: Sequence[Any]) -> Journal:
    """The journal that `JOURNAL` has read; empty when there is no such invocation."""
    return Journal(Entry(*row) for row in rows)
