"""Every query of docs/query.md runs, and what it says of the limits is true."""

import re
from pathlib import Path
from typing import Any

import pytest

from howdah.store import asking
from howdah_api.admin import query
from howdah_api.query import parser, tokens
from howdah_api.query.catalog import TABLES
from howdah_api.query.functions import AGGREGATES, SCALARS, WINDOWS

PAGE = (Path(__file__).parents[2] / "docs" / "query.md").read_text()
QUERIES = [
    statement.strip()
    for block in re.findall(r"^```sql\n(.*?)^```$", PAGE, re.M | re.S)
    for statement in block.split(";")
    if statement.strip()
]


@pytest.mark.parametrize("statement", QUERIES, ids=[one.split("\n")[0][:60] for one in QUERIES])
def test_every_query_runs(ask: Any, statement: str) -> None:
    assert isinstance(ask.rows(statement), list)


def test_every_table_is_named() -> None:
    assert all(f"`{table}`" in PAGE for table in TABLES)


def test_every_function_that_is_named_is_there() -> None:
    listed = "".join(re.findall(r"^- of [^:]*: (.*(?:\n  .*)*)", PAGE, re.M))
    words = set(re.findall(r"\b[a-z_0-9]{2,}\b", re.sub(r"`[^`]*[=\[][^`]*`", "", listed)))

    assert words - {"and", "those", "of", "groups"} - {"cast", "extract"} <= (
        SCALARS.keys() | AGGREGATES.keys() | WINDOWS.keys()
    )


def test_the_bounds_are_what_the_page_says() -> None:
    assert (asking.STATEMENT_SECONDS, asking.TOTAL_SECONDS) == (10, 60)
    assert (asking.BYTES_MAX, asking.ROWS_MAX) == (32 * 1024 * 1024, 200_000)
    assert (query.PARALLEL, query.WAITING_MAX, query.WAIT_SECONDS) == (2, 16, 5)
    assert (tokens.QUERY_CHARACTERS_MAX, parser.SOURCES_MAX, parser.DEPTH_MAX) == (
        256 * 1024,
        16,
        50,
    )
