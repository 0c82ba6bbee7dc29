"""The files that are not Python: SQL and migrations, from the checkout or from the wheel."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal


def _shipped(in_wheel: str, in_checkout: str) -> Traversable:
    packed = files("howdah") / in_wheel
    return packed if packed.is_dir() else Path(__file__).resolve().parents[2] / in_checkout


def sql_files(folder: Literal["functions", "views"]) -> list[tuple[str, str]]:
    """Return (name, text) of each SQL file in a folder, in the order of their names.

    The order is the order of installation: the numbers at the front of the names decide it.
    """
    return sorted(
        (file.name, file.read_text("utf-8"))
        for file in (_shipped("_sql", "sql") / folder).iterdir()
        if file.name.endswith(".sql")
    )


def alembic_dir() -> Path:
    """Return the folder with Alembic's env.py and versions."""
    found = _shipped("_alembic", "alembic")
    if not isinstance(found, Path):
        raise RuntimeError("howdah must be installed unpacked: migrations cannot run from a zip")
    return found
