"""The results: one table for people, one JSON file for comparing runs."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.figures import Figure, Measured
from benchmarks.peers import Rival


@dataclass(slots=True)
class Side:
    """What howdah or one peer reached in one figure: every measurement, or why there is none."""

    measurements: list[Measured] = field(default_factory=list)
    problem: str | None = None

    @property
    def values(self) -> list[float]:
        """The values in the order in which they were measured."""
        return [measured.value for measured in self.measurements]

    @property
    def median(self) -> float | None:
        """The median, or None when nothing was measured."""
        return statistics.median(self.values) if self.measurements else None

    def as_json(self) -> dict[str, Any]:
        """The side as it is stored."""
        return {
            "median": self.median,
            "values": self.values,
            "details": [measured.details for measured in self.measurements],
            "problem": self.problem,
        }


@dataclass(slots=True)
class Row:
    """One figure with everything that was measured for it; `howdah` is one of the sides."""

    figure: Figure
    sides: dict[str, Side]

    def ratio(self, peer: str) -> float | None:
        """How many times better howdah is than the peer."""
        ours = self.sides["howdah"].median
        theirs = self.sides[peer].median if peer in self.sides else None
        if not ours or not theirs:
            return None
        return ours / theirs if self.figure.is_more_better else theirs / ours


def table(rows: Sequence[Row], peers: Sequence[Rival]) -> Table:
    """The table: howdah's figure, its target, and the peers' with how many times better we are."""
    made = Table(title="howdah beside its peers", title_justify="left")
    made.add_column("figure", no_wrap=True)
    made.add_column("unit")
    made.add_column("howdah", justify="right")
    made.add_column("target", justify="right")
    made.add_column("", justify="center")
    for peer in peers:
        made.add_column(peer.title, justify="right")
        made.add_column("ratio", justify="right")
    for row in rows:
        ours = row.sides["howdah"]
        sign = ">=" if row.figure.is_more_better else "<="
        cells = [row.figure.title, row.figure.unit, _cell(ours)]
        cells += [f"{sign} {_number(row.figure.target)}", _verdict(row.figure, ours)]
        for peer in peers:
            ratio = row.ratio(peer.name)
            cells.append(_cell(row.sides[peer.name]) if peer.name in row.sides else "")
            cells.append("" if ratio is None else f"{_number(ratio)}x")
        made.add_row(*cells)
    return made


def store(
    folder: Path,
    rows: Sequence[Row],
    peers: Sequence[Rival],
    *,
    settings: Mapping[str, str],
    arguments: Mapping[str, Any],
) -> Path:
    """Write the results as JSON and return the file's path."""
    now = datetime.now(UTC)
    result = {
        "at": now.isoformat(timespec="seconds"),
        "howdah": {"version": version("howdah"), "commit": _commit()},
        "machine": {
            "cores": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
        },
        "postgres": dict(settings),
        "arguments": dict(arguments),
        "peers": {
            peer.name: {"packages": peer.packages, "settings": peer.settings} for peer in peers
        },
        "figures": {
            row.figure.name: {
                "title": row.figure.title,
                "unit": row.figure.unit,
                "target": row.figure.target,
                "is_more_better": row.figure.is_more_better,
                "sides": {name: side.as_json() for name, side in row.sides.items()},
                "ratios": {peer.name: row.ratio(peer.name) for peer in peers},
            }
            for row in rows
        },
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


def _cell(side: Side) -> str:
    if side.median is None:
        return "failed" if side.problem else ""
    text = _number(side.median)
    if len(side.values) > 1:
        text += f" ({_number(min(side.values))}–{_number(max(side.values))})"
    return text


def _verdict(figure: Figure, side: Side) -> str:
    if side.median is None:
        return ""
    return "[green]met[/]" if figure.is_met_by(side.median) else "[red]missed[/]"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _commit() -> str | None:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], check=False, capture_output=True, text=True
    )
    return found.stdout.strip() or None
