"""The examples of docs/handlers-sync.md, executed."""

import asyncio
import re
from pathlib import Path
from typing import Any

import asyncpg

from support.engines import result, running_engine, send, until

PAGE = Path(__file__).parents[2] / "docs" / "handlers-sync.md"
BLOCKS: list[str] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


async def test_the_examples_do_what_the_page_says(dsn: str, db: "asyncpg.Connection[Any]") -> None:
    page: dict[str, Any] = {"__name__": "page"}
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), page)
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    def release() -> None:
        loop.call_soon_threadsafe(released.set)

    page["release"] = release
    async with running_engine(dsn, [page["stock"], page["orders"]]) as engine:
        assert await result(engine, "Orders/order", 3) == "receipt for 5700"
        assert await result(engine, "Orders/order_soon", 3) == "receipt for 5700"
        assert await result(engine, "Orders/order", 5) == "sold out"
        assert await result(engine, "Orders/quote", 2) == ["a: 38", "b: 38"]
        accepted = await send(engine, "Orders/reserve")
        await until(db, "select count(*) = 1 from howdah.journal where type = 'sleep'"
                        " and invocation_id = $1", accepted.id)  # fmt: skip
        await engine.operate("cancel", accepted.id)
        await asyncio.wait_for(released.wait(), 20)
        await until(db, "select failure_code = 409 from howdah.invocations where id = $1",
                    accepted.id)  # fmt: skip
