"""Every example of docs/handlers.md, executed; and nothing that a handler can do is left out."""

import inspect
import re
import sys
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import howdah
from howdah import InvocationRetryPolicy, RunOptions, TerminalError
from howdah.errors import InvocationFailed, RequestRefused
from howdah.handler import HandlerOptions
from howdah.testing import Environment, EnvironmentFactory
from support.pages import DOCS, Shell, blocks_of

PAGE = (DOCS / "handlers.md").read_text()
BLOCKS = blocks_of("handlers.md")
MODULE = [block for block in BLOCKS if block.language == "python" and block.file is None]
CHANGES = [block for block in BLOCKS if block.section == "When the code changes"]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that the page is, imported anew."""
    path = tmp_path / "guide.py"
    path.write_text("\n\n".join(block.text for block in MODULE))
    module = ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", module)
    exec(compile(path.read_text(), str(path), "exec", dont_inherit=True), module.__dict__)
    return module


def services_of(page: Any) -> list[Any]:
    kinds = (howdah.Service, howdah.VirtualObject, howdah.Workflow)
    return [one for one in vars(page).values() if isinstance(one, kinds)]


async def failure(env: Environment, *arguments: Any, **options: Any) -> TerminalError:
    with pytest.raises(TerminalError) as found:
        await env.call(*arguments, **options)
    return found.value


async def test_the_three_kinds(page: Any, serve: EnvironmentFactory) -> None:
    async with serve(services_of(page)) as env:
        assert await env.call(page.greet, "Ann") == "Hello, Ann!"
        assert await env.call(page.greet) == "Hello, you!"
        assert await env.call(page.deposit, 5, key="joe") == 5
        assert await env.call(page.deposit, 7, key="joe") == 12
        assert await env.call(page.balance, key="joe") == 12
        sent = await env.send(page.run, "ann@example.com", key="ann")
        again = await env.send(page.run, "other@example.com", key="ann")
        assert (again.id, again.is_new) == (sent.id, False)
        assert (await failure(env, page.run, "a", key="ann")).status_code == 409
        await env.call(page.click, "lynx", key="ann")
        assert await env.attach(sent) == "ann@example.com is a customer"
        assert await env.call(page.email, key="ann") == "ann@example.com"
        rows = await env.sql("select description from howdah.handlers where name = 'greet'")
        assert rows[0][0] == "Say hello."


async def test_arguments_and_results(page: Any, serve: EnvironmentFactory) -> None:
    async with serve(services_of(page)) as env, env.client() as client:
        assert await client.service_call(page.price, page.Order("bread", 2)) == {"bread": 500}
        assert await client.generic_call("Shop", "price", b'{"item": "salt"}') == b'{"salt":250}'
        with pytest.raises(InvocationFailed, match="missing required field `item`") as misfit:
            await client.generic_call("Shop", "price", b'{"count": 1}')
        with pytest.raises(RequestRefused) as refused:
            await client.generic_call("Shop", "price", b"")
        assert (misfit.value.status_code, refused.value.status_code) == (400, 400)
        assert await client.service_call(page.longest, ["a", "bbb", "cc"]) == b"bbb"
        said = await client.service_call(
            page.who, headers={"x-user": "ann"}, idempotency_key="monday"
        )
        assert said == "ann sent 0 bytes, key monday"
        rows = await env.sql(
            "select input_content_type, output_content_type from howdah.handlers"
            " where name = 'longest'"
        )
        assert tuple(rows[0]) == ("text/csv", "text/plain")


async def test_steps(page: Any, serve: EnvironmentFactory) -> None:
    async with serve(services_of(page), always_replay=True) as env:
        assert await env.call(page.pay, "ann") == "receipt for 1900 of ann"
        assert await env.call(page.pay_typed, "ann") == "receipt for 1900 of ann"
        said = await env.call(page.best_effort)
        assert said == "without: step 'ask' failed: the network is down"
        assert page.flaky_calls == ["ann"] * 3
        drawn = await env.call(page.raffle)
        assert 1 <= drawn["draw"] <= 100
        assert len(drawn["ticket"]) == 36
        assert drawn["at"] == pytest.approx((await env.now()).timestamp(), abs=30)


async def test_state(page: Any, serve: EnvironmentFactory) -> None:
    async with serve(services_of(page)) as env:
        await env.set_state(page.account, "joe", {"balance": 3, "nickname": "jo"})
        assert await env.call(page.rename, "Joe Doe", key="joe") == ["balance", "owner"]
        brief = await env.send(page.brief, key="joe")
        assert await env.attach(brief) == "3 of Joe Doe"
        owner = await env.send(page.owner, key="joe")
        assert await env.attach(owner) == "Joe Doe"
        for sent, lazy in ((brief, ["owner"]), (owner, ["owner"])):
            rows = await env.sql(
                "select name from howdah.journal"
                " where invocation_id = $1 and type = 'get lazy state'",
                sent.id,
            )
            assert [row["name"] for row in rows] == lazy
        await env.call(page.close, key="joe")
        assert await env.state(page.account, "joe") == {}


async def test_calls_and_sends(page: Any, serve: EnvironmentFactory) -> None:
    async with serve(services_of(page)) as env:
        said = await env.call(page.buy, "ann")
        assert said.startswith("-250 left, signup ")
        await env.call(page.click, "lynx", key="ann")
        assert await env.call(page.result_of, said.split()[-1]) == "ann@example.com is a customer"
        await env.skip(timedelta(days=15))
        rows = await env.sql("select output from howdah.invocations where handler = 'remind'")
        assert [row[0] for row in rows] == ['"Hello, ann! receipt for 1900 of ann"']
        assert await env.call(page.by_name, "greet") == '"Hello, joe!"'
        await env.skip(timedelta(seconds=2))
        assert await env.call(page.balance, key="joe") == 100
        unknown = await failure(env, page.result_of, "0192f0c1-2b3c-7d4e-8f50-617283940a1b")
        assert unknown.status_code == 404
        rules = re.findall(r"^select howdah\.set_limit_rule.*;", PAGE, re.M)
        assert len(rules) == 3
        for rule in rules:
            await env.sql(rule)
        assert await env.call(page.order_from, "acme") == "Hello, joe!"
        rows = await env.sql("select scope, limit_key from howdah.invocations where scope <> ''")
        assert rows[0][:2] == ("acme", "eu/joe")


async def test_several_at_once(page: Any, serve: EnvironmentFactory) -> None:
    async with serve(services_of(page)) as env:
        assert await env.call(page.totals, ["a", "b"]) == [250, 250]
        assert await env.call(page.in_order) == [0.01, 0.2]
        assert await env.call(page.patient, 0.01) == "done"
        sent = await env.send(page.patient, 3600.0)
        await env.skip(timedelta(seconds=2))
        assert await env.attach(sent) == "it took too long"
        assert await env.call(page.first_of) == "1 done, 1 pending"
        rows = await env.sql(
            "select failure_code from howdah.invocations where handler = 'slow' and input = '3600.0'"
        )
        assert rows[0][0] == 409


async def test_waiting_for_others(page: Any, serve: EnvironmentFactory) -> None:
    mails: list[str] = []
    page.send_mail = lambda to, text: mails.append(text)
    async with serve(services_of(page)) as env:
        for answer in ("yes", "no"):
            sent = await env.send(page.ask_bank, 5)
            await env.until_idle()
            await env.call(page.bank_says, {"id": mails.pop().split()[-1], "text": answer})
            if answer == "yes":
                assert await env.attach(sent) == "yes"
            else:
                with pytest.raises(TerminalError, match="refused by the bank"):
                    await env.attach(sent)
        collecting = await env.send(page.collect, 2)
        await env.call(page.add_to, str(collecting.id))
        with pytest.raises(TerminalError, match="no more bread"):
            await env.attach(collecting)
        collecting = await env.send(page.collect, 1)
        await env.signal(collecting, "item", "salt")
        assert await env.attach(collecting) == ["salt"]
        signup = await env.send(page.run, "bob@example.com", key="bob")
        assert await env.call(page.refuse, key="bob") == "refused"
        with pytest.raises(TerminalError, match="we do not want you"):
            await env.attach(signup)


async def test_retries_and_errors(page: Any, serve: EnvironmentFactory) -> None:
    async with serve(services_of(page)) as env:
        refused = await failure(env, page.order, "tea", key="ann")
        assert (refused.status_code, refused.metadata) == (404, {"item": "tea"})
        sent = await env.send(page.order, "bread", key="ann")
        await env.skip(timedelta(seconds=10))  # more often than three times
        assert await env.status(sent) == "backing_off"
        page.stock["bread"] = 1
        await env.skip(timedelta(seconds=2))
        assert await env.attach(sent) == "bread"
        killed = await failure(env, page.fragile, key="ann")
        assert "this never works" in str(killed)


async def test_used_up_attempts_pause(page: Any, serve: EnvironmentFactory) -> None:
    async with serve(services_of(page)) as env:
        page.stock = None
        sent = await env.send(page.order, "bread", key="joe")
        await env.until_idle()
        await env.skip(timedelta(seconds=10))
        assert await env.status(sent) == "paused"
        behind = await env.send(page.order, "bread", key="joe")
        await env.until_idle()
        assert await env.status(behind) == "inbox"
        page.stock = {"bread": 1}
        assert (await env.sql("select howdah.resume($1)", sent.id))[0][0] == "accepted"
        assert await env.attach(behind) == "bread"


async def test_cancellation(page: Any, serve: EnvironmentFactory) -> None:
    async with serve(services_of(page)) as env:
        sent = await env.send(page.trip, "ann")
        await env.until_idle()
        await env.call(page.change_of_mind, str(sent.id))
        with pytest.raises(TerminalError) as cancelled:
            await env.attach(sent)
        assert cancelled.value.status_code == 409
        assert page.undone == ["was cancelled", "hotel", "flight"]


async def test_options_of_handlers(page: Any, serve: EnvironmentFactory) -> None:
    async with serve(services_of(page)) as env, env.client() as client:
        assert await env.call(page.monthly, 5, key="a") == "report 5"
        assert page.entered == ["in", "out"]
        with pytest.raises(RequestRefused) as refused:
            await client.object_call(page.monthly, "a", 5)
        assert refused.value.status_code == 400
        options = howdah.handler_of(page.monthly).options
        assert options.inactivity_timeout == timedelta(seconds=30)
        assert options.abort_timeout == timedelta(minutes=30)
        [row] = await env.sql(
            "select h.metadata ->> 'cost' as cost, h.idempotency_retention, h.journal_retention,"
            "       h.is_public, s.description, s.metadata ->> 'team' as team"
            "  from howdah.handlers h join howdah.services s on s.name = h.service"
            " where h.service = 'Report' and h.name = 'month'"
        )
        assert tuple(row) == (
            *("high", timedelta(days=2), timedelta(days=30)),
            *(False, "Monthly reports.", "finance"),
        )  # fmt: skip
        sent = await env.send(page.send_invoice, 5, key="a")
        assert await env.attach(sent) == 5
        [row] = await env.sql(
            "select expires_at - completed_at from howdah.invocations where id = $1", sent.id
        )
        assert row[0] == timedelta(days=365)
        hanging = await env.send(page.hangs)
        while not await env.sql("select from howdah.failures where invocation_id = $1", hanging.id):
            await env.status(hanging)
        [row] = await env.sql("select message from howdah.failures order by attempt limit 1")
        assert "reached no verb of its context" in row[0]
        await env.kill(hanging)


@pytest.mark.timeout(180)
def test_the_code_changes(shell: Shell) -> None:
    for block in CHANGES:
        if block.file is not None:
            (shell.folder / block.file).write_text(block.text)
        for command, said in block.commands if block.language == "console" else ():
            shell.check(command, said)


def test_the_page_names_whatever_there_is() -> None:
    code = "".join(block.text for block in MODULE)
    names = {name for name in howdah.__all__ if name not in ("HowdahError", "handler_of")}
    contexts = (howdah.WorkflowContext, howdah.DurablePromise, howdah.DurableCallFuture)
    verbs = {
        name for kind in contexts for name, _ in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }  # fmt: skip
    elsewhere = {"Client", "ClientSendHandle", "SyncClient", "create_client"}  # docs/client.md
    types = {"DurableFuture", "DurableCallFuture", "DurablePromise", "SendHandle", "Request"}

    assert {name for name in verbs if not re.search(rf"\b{name}\b", PAGE)} == set()
    assert {
        name for name in names - elsewhere - types if not re.search(rf"\b{name}\b", PAGE)
    } == set()
    options = {
        *(field.name for kind in (HandlerOptions, InvocationRetryPolicy) for field in fields(kind)),
        *(field.name for field in fields(RunOptions)),
        *inspect.signature(howdah.VirtualObject.handler).parameters,
        *inspect.signature(howdah.Context.run).parameters,
    } - {"self", "serde", "name", "action"}
    assert {name for name in options if not re.search(rf"\b{name}\b", code)} == set()
