"""Services of both packages in one program: they call each other, and verbs of both are at hand."""

import time

import howdah
import howdah.blocking
import howdah.restate as restate
from howdah.restate.extensions import howdah_context_of

old = restate.Service("Old")
new = howdah.Service("New")


@old.handler()
async def greet(ctx: restate.Context, name: str) -> str:
    own = howdah_context_of(ctx)
    assert isinstance(own, howdah.Context)
    assert own.request().id == ctx.request().id
    return await ctx.service_call(polish, arg=await own.service_call(block, arg=name))


@old.handler()
def block(ctx: howdah.blocking.Context, name: str) -> str:
    time.sleep(0.01)
    return ctx.run("greet", lambda: f"hello {name}")


@new.handler()
async def polish(ctx: howdah.Context, text: str) -> str:
    return text.capitalize()


@new.handler()
async def start(ctx: howdah.Context, name: str) -> str:
    return await ctx.service_call(greet, arg=name)


app = restate.app([old, new])
