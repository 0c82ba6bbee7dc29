"""Output of the commands: aligned tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from howdah_api.texts import NOTHING, one_line

_COLOURS = {
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "killed": "red",
    "paused": "yellow",
    "backing_off": "yellow",
}
_GAP = "  "
_JSONB = ("headers", "metadata", "input_schema", "output_schema")
"""Columns of the views that are jsonb without a twin in text."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its head.
        is_whole: Never folded on a narrow terminal: ids and single words, to be copied.
        is_number: Aligned at the right.
    """

    name: str
    is_whole: bool = True
    is_number: bool = False


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their heads, aligned.

    On a terminal long cells are folded to its width; elsewhere a row is a line.
    """
    cells = [[one_line(value) or NOTHING for value in row] for row in rows]
    if not Console().is_terminal:
        for line in aligned(columns, cells):
            click.echo(line)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", highlight=False)
    for number, column in enumerate(columns):
        width = max((len(row[number]) for row in cells), default=0)
        table.add_column(
            column.name.upper(),
            no_wrap=column.is_whole,
            min_width=width if column.is_whole else min(width, 20),
            overflow="fold",
            justify="right" if column.is_number else "left",
        )
    for row in cells:
        # Text, not str: brackets in a value are not markup.
        table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    Console().print(table)


def aligned(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table without a terminal's width: each column as wide as its widest cell."""
    lines = [[column.name.upper() for column in columns], *cells]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    return [
        _GAP.join(
            cell.rjust(width) if column.is_number else cell.ljust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


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
