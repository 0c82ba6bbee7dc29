"""Accounts and transfers, written with the Python SDK for Restate and driven by howdah.

This file knows nothing of howdah: `hypercorn service:app` serves it wherever it runs, and howdah calls it
over HTTP/2. Steps, state, calls and timers are recorded in Postgres, so a transfer is whole whichever of
the two is killed in the middle. All of it at once, with a runtime of its own:

    pip install 'howdah[embedded]' restate-sdk
    python examples/remote_python

Then, in another terminal and the same folder:

    howdah invoke Account/ann/deposit 100
    howdah invoke Transfers/move '{"source": "ann", "target": "bob", "amount": 30}'
    howdah invoke Transfers/move '{"source": "ann", "target": "bob", "amount": 999}'
    howdah invoke Account/bob/balance

What happened, in SQL (howdah sql "…"):

    select target, input, status, outcome, failure from howdah.invocations where service = 'Transfers';
    select j.index, j.type, coalesce(j.name, j.target) as what, j.value, j.failure
      from howdah.journal j
      join howdah.invocations i on i.id = j.invocation_id
     where i.service = 'Transfers' and i.handler = 'move' order by i.created_at, j.index;
    select key, value from howdah.state where service = 'Account';
    select name, uri, sdk_version, services from howdah.deployments where kind = 'remote';
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

import restate


class Move(TypedDict):
    """What is moved, and between whom."""

    source: str
    target: str
    amount: int


account = restate.VirtualObject("Account")
transfers = restate.Service("Transfers")


@account.handler()
async def deposit(ctx: restate.ObjectContext, amount: int) -> int:
    """Add to the account; one writer at a time for each."""
    total = (await ctx.get("balance", type_hint=int) or 0) + amount
    ctx.set("balance", total)
    return total


@account.handler()
async def withdraw(ctx: restate.ObjectContext, amount: int) -> int:
    """Take from the account, if there is enough."""
    total = (await ctx.get("balance", type_hint=int) or 0) - amount
    if total < 0:
        raise restate.TerminalError(f"{ctx.key()} has only {total + amount}", status_code=402)
    ctx.set("balance", total)
    return total


@account.handler(kind="shared")
async def balance(ctx: restate.ObjectSharedContext) -> int:
    """What there is, also while somebody else writes."""
    return await ctx.get("balance", type_hint=int) or 0


@transfers.handler()
async def move(ctx: restate.Context, order: Move) -> str:
    """Take here, and bring there a moment later."""
    receipt = await ctx.run_typed("number the receipt", number_receipt)
    await ctx.object_call(withdraw, order["source"], order["amount"])
    await ctx.sleep(timedelta(milliseconds=500))
    await ctx.object_call(deposit, order["target"], order["amount"])
    return receipt


def number_receipt() -> str:
    """Ask whoever counts receipts; recorded, so that a replay does not ask again."""
    return "receipt 1"


app = restate.app([account, transfers])
