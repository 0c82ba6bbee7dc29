"""Files that ship beside the code: SQL and Alembic revisions, from a checkout or from a wheel."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def _shipped(in_wheel: str, in_checkout: str) -> Path:
    packed = Path(str(files("howdah"))) / in_wheel
    return packed if packed.is_dir() else Path(__file__).resolve().parents[2] / in_checkout


def sql_files(folder: str) -> list[tuple[str, str]]:
    """(name, text) of each file in `sql/<folder>`, sorted by name; 'functions' or 'views'."""
    return [
        (path.name, path.read_text("utf-8"))
        for path in sorted((_shipped("_sql", "sql") / folder).glob("*.sql"))
    ]


def alembic_dir() -> Path:
    """The folder with `env.py` and the revisions."""
    return _shipped("_alembic", "alembic")
