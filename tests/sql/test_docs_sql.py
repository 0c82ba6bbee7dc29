"""Every statement of docs/sql.md runs, and shows something."""

import re
from pathlib import Path

import asyncpg
import pytest

from support import histories
from support.histories import JOE, Database

PAGE = Path(__file__).parents[2] / "docs" / "sql.md"
BLOCKS: list[str] = re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
STATEMENTS = [
    statement.strip() for block in BLOCKS for statement in block.split(";\n") if statement.strip()
]
QUERIES = [text for text in STATEMENTS if not text.startswith(("create", "grant"))]


@pytest.fixture
async def history(db: Database) -> Database:
    await histories.write_history(db)
    return db


async def test_every_query_shows_something(history: Database) -> None:
    for query in QUERIES:
        try:
            rows = await history.fetch(query.replace(":'id'", f"'{JOE}'"))
        except asyncpg.PostgresError as error:
            pytest.fail(f"{error}\n{query}")
        assert bool(rows) is not query.startswith("-- no rows"), query


async def test_a_viewer_may_look_and_nothing_else(history: Database) -> None:
    grants = [text for text in STATEMENTS if text not in QUERIES]
    async with history.transaction():
        for statement in grants:
            await history.execute(statement)
        await history.execute("set local role viewer")
        for query in QUERIES:
            await history.fetch(query.replace(":'id'", f"'{JOE}'"))
        await history.execute("reset role; drop owned by viewer; drop role viewer")


async def test_the_page_names_every_view(db: Database) -> None:
    rows = await db.fetch(
        "select relname from pg_class where relkind = 'v' and relnamespace = 'howdah'::regnamespace"
    )
    table = re.findall(r"^\| (`.*`) \|", PAGE.read_text(), re.M)

    assert {name for line in table for name in re.findall(r"`(\w+)`", line)} == {
        row["relname"] for row in rows
    }
