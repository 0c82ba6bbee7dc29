"""A workflow: runs once for each key; promises connect it with the handlers beside it."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel

import howdah.restate as restate
from howdah.restate import TerminalError, Workflow, WorkflowContext, WorkflowSharedContext

signup = Workflow("Signup", idempotency_retention=timedelta(days=1))
mails: list[str] = []


class User(BaseModel):
    name: str
    email: str
    patience_seconds: float = 60


@signup.main(workflow_retention=timedelta(days=3))
async def run(ctx: WorkflowContext, user: User) -> dict[str, Any]:
    ctx.set("status", "creating")
    await ctx.run("create user", lambda: None)

    secret = await ctx.run("secret", lambda: "s3cret")
    ctx.set("status", "waiting")
    await ctx.run("send mail", lambda: mails.append(f"{user.email} {secret}"))

    clicked = ctx.promise("verify.email", type_hint=str)
    patience = timedelta(seconds=user.patience_seconds)
    match await restate.select(clicked=clicked.value(), timeout=ctx.sleep(patience)):
        case ["clicked", given] if given == secret:
            ctx.set("status", "verified")
            return {"user": user.name, "success": True}
        case ["clicked", _]:
            raise TerminalError("the link is not ours", status_code=401)
        case _:
            raise TerminalError("verification timed out", status_code=410)


@signup.handler()
async def click(ctx: WorkflowSharedContext, secret: str) -> None:
    await ctx.promise("verify.email").resolve(secret)


@signup.handler()
async def give_up(ctx: WorkflowSharedContext, reason: str) -> None:
    await ctx.promise("verify.email").reject(reason, code=409)


@signup.handler()
async def status(ctx: WorkflowSharedContext) -> list[Any]:
    promise = ctx.promise("verify.email", type_hint=str)
    return [ctx.key(), await ctx.get("status", type_hint=str), await promise.peek()]


@signup.handler(output_serde=restate.serde.DefaultSerde(str))
async def wait_for_click(ctx: WorkflowSharedContext) -> str:
    return await ctx.promise("verify.email", type_hint=str)
