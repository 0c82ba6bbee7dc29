"""A workflow and an awakeable, for the clients' tests."""

from pathlib import Path

from howdah import Context, Service, Workflow, WorkflowContext, WorkflowSharedContext

trip = Workflow("Trip")
desk = Service("Desk")


@trip.main()
async def book(ctx: WorkflowContext, seats: int) -> str:
    paid = await ctx.promise("paid", type_hint=bool).value()
    return f"{ctx.key()}: {seats}, {'paid' if paid else 'open'}"


@trip.handler()
async def pay(ctx: WorkflowSharedContext) -> str:
    await ctx.promise("paid", type_hint=bool).resolve(True)
    return "thanks"


@desk.handler()
async def ask(ctx: Context, file: str) -> dict[str, str]:
    """Write the id of an awakeable into the file, and wait for it."""
    awakeable_id, answer = ctx.awakeable(type_hint=dict[str, str])

    def give_away() -> None:
        Path(f"{file}.part").write_text(awakeable_id)
        Path(f"{file}.part").rename(file)

    await ctx.run("give the id away", give_away)
    return await answer
