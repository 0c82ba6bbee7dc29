"""Many at once: a report whose pages are counted side by side, on any number of processes.

    howdah serve examples/fan_out.py
    howdah invoke Reports/count '["to be or not to be", "that is the question", "to sleep"]'
    howdah invoke Reports/fastest '["a", "bb", "ccc"]'

Each page is an invocation of its own: it is retried on its own, and runs on whichever process has
room (`howdah serve --processes 4`). The report is suspended meanwhile, and holds no memory.

Who ran what, and how long did it take?

    select i.target, i.input, i.output, i.attempts, i.worker, i.completed_at - i.created_at as took
      from howdah.invocations i
     where i.service in ('Reports', 'Pages')
     order by i.created_at desc limit 50;

The calls of a report, in the order in which they were made, and the order of their results:

    select j.invocation_id, j.index, j.type, j.callee_id, j.value
      from howdah.journal j join howdah.invocations i on i.id = j.invocation_id
     where i.service = 'Reports'
     order by j.invocation_id, j.index;
"""

from collections import Counter
from datetime import timedelta

from howdah import Context, DurableFuture, Service, as_completed, gather, select

reports = Service("Reports", description="Counts words of many pages.")
pages = Service("Pages", description="Counts words of one page.")

PATIENCE = timedelta(seconds=30)


@reports.handler()
async def count(ctx: Context, texts: list[str]) -> dict[str, int]:
    """Count the words of all texts: calls start when they are made, not when they are awaited."""
    calls = [ctx.service_call(words, arg=text) for text in texts]
    total: Counter[str] = Counter()
    if calls:
        await gather(*calls)
    for call in calls:
        total.update(await call)
    return dict(total.most_common())


@reports.handler()
async def fastest(ctx: Context, texts: list[str]) -> list[str]:
    """Return the texts in the order in which they were done: the same one on every replay."""
    calls: dict[DurableFuture[dict[str, int]], str] = {}
    for text in texts:
        calls[ctx.service_call(words, arg=text)] = text
    return [calls[call] async for call in as_completed(*calls)]


@reports.handler()
async def first_or_nothing(ctx: Context, text: str) -> dict[str, int]:
    """Count a text that must not take longer than 30 seconds."""
    call = ctx.service_call(words, arg=text)
    match await select(counted=call, timeout=ctx.sleep(PATIENCE)):
        case ["counted", dict(counted)]:
            return counted
        case _:
            await call.cancel_invocation()
            return {}


@pages.handler()
async def words(ctx: Context, text: str) -> dict[str, int]:
    """Count the words of one text; a step, so that it is done once for each page."""
    return await ctx.run("count", lambda: dict(Counter(text.split())), type_hint=dict[str, int])
