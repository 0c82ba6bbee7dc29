import asyncio
import gc

import pytest

from howdah.worker.loops import Loops


async def test_work_that_is_stopped_before_it_began_leaves_nothing_behind() -> None:
    async def work() -> None:
        await asyncio.sleep(60)

    loops = Loops(on_failure=lambda: None)
    loops.later(work())
    await loops.stop()

    # A coroutine that nobody awaited would be a warning here, hence an error.
    gc.collect()


async def test_a_loop_that_ends_by_itself_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    loops = Loops(on_failure=lambda: None)
    loops.start(broken())
    await asyncio.sleep(0)
    await loops.stop()

    (record,) = caplog.records
    assert record.levelname == "CRITICAL"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
