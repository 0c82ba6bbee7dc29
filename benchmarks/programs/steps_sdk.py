"""Three steps, as `steps.py` has them, written with the Python SDK for Restate.

    hypercorn steps_sdk:app

Runs in its own virtual environment.
"""

import restate

steps = restate.Service("Steps")


async def step() -> dict[str, str]:
    return {"result": "ok"}


@steps.handler()
async def three(ctx: restate.Context, text: str) -> str:
    await ctx.run_typed("first", step)
    await ctx.run_typed("second", step)
    await ctx.run_typed("third", step)
    return text


app = restate.app([steps])
