import asyncio
from datetime import timedelta
from typing import Any

import pytest

from howdah import Context, Service, TerminalError, Workflow, WorkflowContext
from howdah.errors import UsageError
from howdah.testing import CrashFailure, Environment, Unfinished, crash_everywhere
from testing.shop import DAY, add, cart, greet, greet_blocking, greeter

pytestmark = pytest.mark.timeout(300)


class Bank:
    """What a handler charges, by a payment's id if it gives one."""

    def __init__(self) -> None:
        self.charges: list[str] = []
        self.cleaned_up = 0
        self.service = service = Service("Bank")

        @service.handler()
        async def pay(ctx: Context, item: str) -> int:
            count = await ctx.object_call(add, "joe", item)
            payment = str(ctx.uuid())

            async def charge() -> None:
                try:
                    self.charges.append(payment)
                    await asyncio.sleep(0)
                finally:
                    self.cleaned_up += 1

            await ctx.run("charge", charge)
            await ctx.sleep(DAY)
            await ctx.run("note", lambda: item)
            return count

        self.pay = pay

    async def open(self, env: Environment) -> None:
        self.charges.clear()
        self.cleaned_up = 0
        await env.call(add, "first", key="joe")

    async def has_one_payment(self, env: Environment) -> None:
        assert len(set(self.charges)) == 1
        assert (await env.state(cart, "joe"))["items"] == ["first", "bread"]

    async def has_charged_once(self, env: Environment) -> None:
        assert len(self.charges) == 1, f"charged {len(self.charges)} times"


async def test_a_right_handler_survives_a_crash_anywhere(server_url: str) -> None:
    bank, told = Bank(), []
    report = await crash_everywhere(
        bank.pay, "bread", services=[bank.service, cart], setup=bank.open,
        invariant=bank.has_one_payment, database_url=server_url,
        on_progress=lambda number, count: told.append((number, count)),
    )  # fmt: skip
    assert report.result == 2
    assert report.boundaries >= 12
    assert [number for number, _ in told] == list(range(1, report.boundaries + 1))
    assert all(count >= number for number, count in told)


async def test_suspended_handlers_survive_it_too(server_url: str) -> None:
    bank = Bank()
    report = await crash_everywhere(
        bank.pay, "bread", services=[bank.service, cart], setup=bank.open,
        invariant=bank.has_one_payment, inactivity_timeout=timedelta(0), database_url=server_url,
    )  # fmt: skip
    assert report.result == 2


async def test_a_step_that_must_not_be_repeated_is_found(server_url: str) -> None:
    bank = Bank()
    with pytest.raises(CrashFailure) as found:
        await crash_everywhere(
            bank.pay, "bread", services=[bank.service, cart], setup=bank.open,
            invariant=bank.has_charged_once, database_url=server_url,
        )  # fmt: skip
    said = str(found.value)
    assert f"A crash at boundary {found.value.boundary} of " in said
    assert "The invariant does not hold: AssertionError: charged 2 times" in said
    assert "before it." in said
    assert "2  call completed Cart/joe/add" in said
    assert f"only={found.value.boundary}" in said
    assert isinstance(found.value.__cause__, AssertionError)
    with pytest.raises(CrashFailure):
        await crash_everywhere(
            bank.pay, "bread", services=[bank.service, cart], setup=bank.open,
            invariant=bank.has_charged_once, database_url=server_url, only=found.value.boundary,
        )  # fmt: skip


async def test_what_was_killed_cleans_nothing_up_before_it_is_looked_at(server_url: str) -> None:
    service, left = Service("Holder"), []

    @service.handler()
    async def hold(ctx: Context) -> str:
        left.append("open")
        try:
            await ctx.sleep(DAY)
            return await ctx.run("work", lambda: "done")
        finally:
            left.append("closed")

    unclosed = []

    async def setup(_env: Environment) -> None:
        left.clear()

    async def look(_env: Environment) -> None:
        unclosed.append(left.count("open") - left.count("closed"))

    report = await crash_everywhere(
        hold, services=[service], setup=setup, invariant=look, database_url=server_url
    )
    # Dead code that had begun never came to its end, until after the look.
    assert report.result == "done"
    assert max(unclosed) == 1
    assert left.count("open") == left.count("closed")


async def test_a_path_that_differs_after_the_crash_is_found(server_url: str) -> None:
    service, runs = Service("Fickle"), 0

    @service.handler()
    async def choose(ctx: Context) -> str:
        nonlocal runs
        runs += 1
        await ctx.run(f"step {runs}", lambda: None)
        await ctx.run("last", lambda: None)
        return "done"

    async def setup(_env: Environment) -> None:
        nonlocal runs
        runs = 0

    with pytest.raises(CrashFailure, match="took another path than its journal"):
        await crash_everywhere(choose, services=[service], setup=setup, database_url=server_url)


async def test_another_result_is_found(server_url: str) -> None:
    service = Service("Memory")
    seen: list[str] = []

    @service.handler()
    async def remember(ctx: Context, name: str) -> int:
        seen.append(name)
        await ctx.run("write", lambda: None)
        return len(seen)

    async def setup(_env: Environment) -> None:
        seen.clear()

    with pytest.raises(CrashFailure, match=r"It ended otherwise.\n  expected: 1\n       got: 2"):
        await crash_everywhere(
            remember, "a", services=[service], setup=setup, database_url=server_url
        )
    report = await crash_everywhere(
        remember, "a", services=[service], setup=setup, normalize=lambda _: None,
        database_url=server_url,
    )  # fmt: skip
    assert report.result == 1


async def test_workflows_and_failures_have_an_end_as_well(server_url: str) -> None:
    flow = Workflow("Flow")

    @flow.main()
    async def run(ctx: WorkflowContext, name: str) -> Any:
        await ctx.service_call(greet, arg=name)
        raise TerminalError("sold out", 410)

    report = await crash_everywhere(
        run, "Ada", key="a", services=[flow, greeter], database_url=server_url
    )
    assert report.result is None
    assert report.boundaries > 4


async def test_sync_handlers_survive_it(server_url: str) -> None:
    report = await crash_everywhere(
        greet_blocking, "Ada", services=[greeter], database_url=server_url
    )
    assert report.result == "Hello Hello Ada"
    assert report.boundaries > 8


async def test_what_does_not_end_without_a_crash_is_told(server_url: str) -> None:
    service = Service("Waiter")

    @service.handler()
    async def wait(ctx: Context) -> str:
        return await ctx.signal("never", type_hint=str)

    with pytest.raises(Unfinished, match="It waits, and nothing here ends that"):
        await crash_everywhere(wait, services=[service], database_url=server_url)
    with pytest.raises(UsageError, match="There is no boundary 500"):
        await crash_everywhere(greet, "Ada", services=[greeter], only=500, database_url=server_url)
    with pytest.raises(UsageError, match="is not served here"):
        await crash_everywhere(greet, "Ada", services=[cart], database_url=server_url)
