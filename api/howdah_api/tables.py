"""Output of the commands: aligned tables for people, JSON for programs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import click
import msgspec

from howdah_api.texts import NOTHING, one_line

_COLOURS = {
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "killed": "red",
    "paused": "yellow",
    "backing_off": "yellow",
}
CUT_CHARACTERS_MIN = 12
"""A column with less room than this is not worth showing beside the others."""
_GAP = "  "
_BELOW = "    "
_JSONB = ("headers", "metadata", "input_schema", "output_schema")
"""Columns of the views that are jsonb without a twin in text."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its head.
        is_number: Aligned at the right.
        is_cut: Of the last column: where the terminal is too narrow it is cut off, instead of
            being shown below its row.
    """

    name: str
    is_number: bool = False
    is_cut: bool = False


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their heads, aligned: one line each, but for a narrow terminal."""
    cells = [[one_line(value) or NOTHING for value in row] for row in rows]
    width = None
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
    for line in laid_out(columns, cells, width):
        click.echo(line)  # colours only where it is a terminal


def laid_out(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int | None
) -> Iterator[str]:
    """The lines of a table.

    Args:
        columns: One for each cell of a row.
        cells: Rows, without line breaks.
        width: Of the terminal, or None for as much as is needed.
    """
    heads = [column.name.upper() for column in columns]
    widths = [max(map(len, cells_of)) for cells_of in zip(heads, *cells, strict=True)]
    room = None if width is None else width - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
    fits = room is None or widths[-1] <= room
    is_below = not fits and (not columns[-1].is_cut or (room or 0) < CUT_CHARACTERS_MIN)
    for row in (heads, *cells):
        *words, last = (
            cell.rjust(size) if column.is_number else cell.ljust(size)
            for column, cell, size in zip(columns, row, widths, strict=True)
        )
        last = last.rstrip()
        line = [_coloured(word, cell, row is heads) for word, cell in zip(words, row, strict=False)]
        if not is_below:
            if room is not None and len(last) > room:
                last = f"{last[: room - 3]}..."
            line.append(_coloured(last, row[-1], row is heads))
        yield _GAP.join(line).rstrip()
        if is_below and row is not heads and last != NOTHING:
            yield f"{_BELOW}{last}"


def _coloured(word: str, cell: str, is_head: bool) -> str:
    if is_head:
        return word.replace(cell, click.style(cell, bold=True))
    colour = _COLOURS.get(cell)
    return word if colour is None else word.replace(cell, click.style(cell, fg=colour))


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one a line; those without a value are left out."""
    given = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in given), default=0)
    for name, value in given:
        first, *more = value.split("\n")
        click.echo(f"  {name.ljust(width)}  {first}")
        for line in more:
            click.echo(f"  {' ' * width}  {line}")


def print_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def facts_of(row: Mapping[str, Any], *, left_out: Container[str] = ()) -> dict[str, Any]:
    """A row as JSON has it, without the columns that are left out.

    A payload, in the columns `x` and `x_json`, becomes one value: JSON where it is JSON, else its
    text. A duration becomes seconds, under a name that says so.
    """
    facts: dict[str, Any] = {}
    for name, value in row.items():
        if name in left_out or name.endswith("_json"):
            continue
        parsed = row.get(f"{name}_json")
        if parsed is not None:
            facts[name] = msgspec.Raw(parsed.encode())
        elif name in _JSONB and value is not None:
            facts[name] = msgspec.Raw(value.encode())
        elif isinstance(value, timedelta):
            facts[f"{name}_seconds"] = value.total_seconds()
        else:
            facts[name] = value
    return facts
