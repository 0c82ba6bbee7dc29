import asyncio
import gc

from howdah.worker.loops import Loops


async def test_work_that_is_stopped_before_it_began_leaves_nothing_behind() -> None:
    async def work() -> None:
        await asyncio.sleep(60)

    loops = Loops(on_failure=lambda: None)
    loops.later(work())
    await loops.stop()

    # A coroutine that nobody awaited would be a warning here, hence an error.
    gc.collect()
