"""A signup that waits for people: a promise, an awakeable, and timeouts for both.

    howdah serve examples/signup_workflow.py
    howdah invoke --send Signup/ann/run '{"name": "Ann", "email": "ann@example.org"}'
    howdah invoke Signup/ann/status
    howdah invoke Signup/ann/click '"welcome-ann"'

A workflow runs once for each key; here the key is the user. It waits for the click on a link in
its mail: a promise, which the handler `click` resolves. Then it waits for a partner to create the
account, who was given the id of an awakeable and calls back with it:

    select key, value_json #>> '{}' as callback from howdah.state
     where service = 'Signup' and name = 'callback';

    curl "http://127.0.0.1:8080/restate/awakeables/$ID/resolve" --json '"account-1"'
    howdah invoke Signup/ann/status

Neither is waited for in memory: stop the server meanwhile, and start it again. Who does not click
in SIGNUP_PATIENCE_SECONDS (86400 unless given) is forgotten.

What do the users that are not through wait for, and until when?

    select i.key, i.waiting_for, w.type, w.due_at
      from howdah.invocations i join howdah.waits w on w.invocation_id = i.id
     where i.service = 'Signup' and i.handler = 'run'
     order by i.created_at, w.due_at;

    select key, name, status, value from howdah.promises where service = 'Signup';
"""

import os
from dataclasses import dataclass
from datetime import timedelta

from howdah import TerminalError, Workflow, WorkflowContext, WorkflowSharedContext, select

PATIENCE = timedelta(seconds=float(os.environ.get("SIGNUP_PATIENCE_SECONDS", "86400")))
PARTNER_PATIENCE = timedelta(hours=1)

signup = Workflow("Signup", description="Signs users up.", workflow_retention=timedelta(days=7))


@dataclass
class User:
    """Who wants to sign up."""

    name: str
    email: str


@signup.main()
async def run(ctx: WorkflowContext, user: User) -> str:
    """Sign a user up; returns the account that the partner made."""
    secret = f"welcome-{ctx.key()}"
    ctx.set("status", "waits for the click")
    await ctx.run("send mail", lambda: send_mail(user, secret))

    clicked = ctx.promise("click", type_hint=str)
    match await select(secret=clicked.value(), timeout=ctx.sleep(PATIENCE, name="patience")):
        case ["secret", given] if given == secret:
            pass
        case ["secret", _]:
            ctx.set("status", "refused")
            raise TerminalError("this is not the link that was sent", status_code=403)
        case _:
            ctx.set("status", "gave up")
            raise TerminalError("nobody clicked the link", status_code=410)

    callback, account = ctx.awakeable(type_hint=str)
    ctx.set("callback", callback)
    ctx.set("status", "waits for the partner")
    await ctx.run("ask the partner", lambda: ask_partner(user, callback))
    match await select(account=account, timeout=ctx.sleep(PARTNER_PATIENCE, name="partner")):
        case ["account", str(name)]:
            ctx.set("status", "signed up")
            return name
        case _:
            ctx.set("status", "the partner is silent")
            raise TerminalError("the partner did not answer", status_code=504)


@signup.handler()
async def click(ctx: WorkflowSharedContext, secret: str) -> None:
    """The link in the mail; only the first click counts, a second one is answered with 409."""
    await ctx.promise("click", type_hint=str).resolve(secret)


@signup.handler()
async def status(ctx: WorkflowSharedContext) -> str:
    """How far the user is; reads beside the running workflow."""
    return await ctx.get("status", type_hint=str) or "unknown"


# The outside world.


def send_mail(user: User, secret: str) -> None:
    print(f"mail to {user.email}: welcome {user.name}, your secret is {secret}")


def ask_partner(user: User, callback: str) -> None:
    print(f"partner: create an account for {user.name}, and tell {callback}")
