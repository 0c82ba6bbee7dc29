"""A human in the loop: an expense waits for somebody's yes, for days if need be.

    howdah serve examples/approvals.py
    howdah invoke --send Expense/lunch/submit '{"employee": "Ann", "cents": 1800}'     # at once
    howdah invoke --send Expense/laptop/submit '{"employee": "Ann", "cents": 180000}'  # waits
    howdah invoke Expense/laptop/look

What waits for a person, with the id that completes it:

    select key, value_json #>> '{}' as approval from howdah.state
     where service = 'Expense' and name = 'approval';

Say yes over HTTP, from a form or a link in a mail (the id is the secret):

    curl "http://127.0.0.1:8080/restate/awakeables/$ID/resolve" --json '{"by": "Bob", "is_approved": true}'

Or in SQL, in the same transaction as whatever else you change:

    select key, howdah.resolve_awakeable(value_json #>> '{}', '{"by": "Bob", "is_approved": false}')
      from howdah.state where service = 'Expense' and name = 'approval';

Every EXPENSE_REMIND_SECONDS (86400 unless given) somebody is reminded. What happened to the
expenses, and how often?

    select key, max(value) filter (where name = 'status') as status,
           max(value) filter (where name = 'reminders') as reminders
      from howdah.state where service = 'Expense' group by key order by key;
"""

import os
from dataclasses import dataclass
from datetime import timedelta

from howdah import ObjectContext, ObjectSharedContext, VirtualObject, select

REMIND_AFTER = timedelta(seconds=float(os.environ.get("EXPENSE_REMIND_SECONDS", "86400")))
NO_QUESTIONS_ASKED_CENTS = 5_000

expenses = VirtualObject("Expense", description="Something that an employee has paid for.")


@dataclass
class Expense:
    """What was paid, and by whom."""

    employee: str
    cents: int


@dataclass
class Decision:
    """What a person said."""

    by: str
    is_approved: bool


@expenses.handler()
async def submit(ctx: ObjectContext, expense: Expense) -> str:
    """Pay an expense back, once it is approved; returns what became of it."""
    decision = Decision("the rules", is_approved=True)
    if expense.cents > NO_QUESTIONS_ASKED_CENTS:
        decision = await ask(ctx, expense)
    if decision.is_approved:
        await ctx.run("pay back", lambda: pay_back(expense))
    outcome = f"{'paid' if decision.is_approved else 'refused'}, said {decision.by}"
    ctx.set("status", outcome)
    return outcome


@expenses.handler(kind="shared")
async def look(ctx: ObjectSharedContext) -> str:
    """The status of an expense; answers while `submit` waits."""
    return await ctx.get("status", type_hint=str) or "unknown"


async def ask(ctx: ObjectContext, expense: Expense) -> Decision:
    """Wait for a decision, and remind people of it."""
    approval, decided = ctx.awakeable(type_hint=Decision)
    ctx.set("approval", approval)
    ctx.set("status", "waits for a decision")
    reminders = 0
    while True:
        who = "boss" if reminders == 0 else "boss, again"
        await ctx.run("notify", notify, args=(who, expense, approval))
        match await select(decision=decided, late=ctx.sleep(REMIND_AFTER, name="reminder")):
            case ["decision", Decision() as decision]:
                ctx.clear("approval")
                return decision
            case _:
                reminders += 1
                ctx.set("reminders", reminders)


# The outside world.


def notify(who: str, expense: Expense, approval: str) -> None:
    print(f"to the {who}: {expense.employee} wants {expense.cents / 100:.2f} back ({approval})")


def pay_back(expense: Expense) -> None:
    print(f"paid {expense.cents / 100:.2f} to {expense.employee}")
