"""Every example does what its header says: its commands over real HTTP, its statements in SQL."""

import ast
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import asyncpg
import httpx
import pytest

from support.engines import until
from support.servers import HowdahProcess, Servers

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
WAIT_SECONDS = 30

Database: TypeAlias = "asyncpg.Connection[Any]"


class Command(NamedTuple):
    """A `howdah invoke` of a header."""

    is_send: bool
    path: str
    body: str | None


class Example(NamedTuple):
    """One example that is served, and how to reach it."""

    server: HowdahProcess
    http: httpx.AsyncClient
    db: Database
    name: str

    async def invoke(self, path: str, body: str | None = None, *, send: bool = False) -> Any:
        headers = {"content-type": "application/json"} if body else {}
        url = f"/{path}/send" if send else f"/{path}"
        return await self.http.post(url, content=body, headers=headers)

    async def run_header(self) -> list[httpx.Response]:
        """Run the commands of the header, in order."""
        return [
            await self.invoke(command.path, command.body, send=command.is_send)
            for command in commands(self.name)
        ]

    async def check_statements(self) -> None:
        """Every query of the header shows something, and every invariant holds."""
        for statement in statements(self.name):
            rows = await self.db.fetch(statement)
            assert rows, statement
        assert await self.db.fetch("select * from howdah.check()") == []


def header(name: str) -> str:
    return ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text())) or ""


def commands(name: str) -> list[Command]:
    found = []
    for line in re.findall(r"^    howdah invoke (.*)$", header(name), re.M):
        words = shlex.split(line, comments=True)
        is_send = words[0] == "--send"
        path, *body = words[1:] if is_send else words
        found.append(Command(is_send, path, body[0] if body else None))
    return found


def statements(name: str) -> list[str]:
    return re.findall(r"^    (select .*?);$", header(name), re.M | re.S)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    started = Servers(tmp_path)
    yield started
    started.end()


@pytest.fixture
async def example(
    request: pytest.FixtureRequest, dsn: str, db: Database, servers: Servers
) -> AsyncIterator[Example]:
    """The example of the test's marker, served with its settings."""
    name, settings = request.param
    server = servers.serve(dsn, str(EXAMPLES / f"{name}.py"), **settings)
    async with httpx.AsyncClient(
        base_url=server.ingress, timeout=WAIT_SECONDS, trust_env=False
    ) as http:
        yield Example(server, http, db, name)


def of(name: str, **settings: str) -> pytest.MarkDecorator:
    """Serve `examples/<name>.py` for a test."""
    return pytest.mark.parametrize("example", [(name, settings)], indirect=True, ids=[name])


@of("saga", TRIPS_CONFIRM_SECONDS="0.1")
async def test_a_saga_books_or_undoes(example: Example) -> None:
    booked, refused, sent = await example.run_header()

    assert booked.json()["flight"] == "flight of Ann, reserved"
    assert (refused.status_code, refused.json()["message"]) == (402, "the card has expired")
    assert "cancelled the hotel of Bob\ncancelled the flight of Bob" in example.server.said
    attach = await example.http.get(f"/restate/invocation/{sent.json()['invocationId']}/attach")
    assert attach.status_code == 200
    select_steps, _ = statements("saga")
    names = [row["name"] for row in await example.db.fetch(select_steps) if row["failure"]]
    assert "pay" in names


@of("saga", TRIPS_CONFIRM_SECONDS="3600", HOWDAH_INACTIVITY_TIMEOUT="100ms")
async def test_a_cancelled_saga_undoes_everything(example: Example) -> None:
    _, _, last = commands("saga")
    sent = await example.invoke(last.path, last.body, send=True)
    invocation = sent.json()["invocationId"]
    await until(
        example.db, "select exists (select from howdah.journal where name like '%airline%')"
    )
    await example.check_statements()  # the last one cancels it
    attach = await example.http.get(f"/restate/invocation/{invocation}/attach")

    assert attach.status_code == 409
    undone = re.findall(r"cancelled the (\w+)", example.server.said)
    assert undone == ["payment", "hotel", "flight"]
    assert await example.db.fetch("select * from howdah.check()") == []


@of("signup_workflow", HOWDAH_INACTIVITY_TIMEOUT="0s")
async def test_a_signup_waits_for_a_click_and_a_partner(example: Example) -> None:
    started, status, clicked = (await example.run_header())[:3]
    assert started.status_code == 202
    assert status.json() in ("unknown", "waits for the click")
    assert clicked.status_code == 200
    twice = await example.invoke("Signup/ann/click", '"welcome-ann"')
    assert twice.status_code == 409

    callback = await until(
        example.db, "select value_json #>> '{}' from howdah.state where name = 'callback'"
    )
    await until(example.db, "select exists (select from howdah.waits where type = 'awakeable')")
    await example.check_statements()
    resolved = await example.http.post(f"/restate/awakeables/{callback}/resolve", json="account-1")
    assert resolved.status_code == 202
    attach = await example.http.get("/restate/workflow/Signup/ann/attach")
    assert attach.json() == "account-1"
    assert (await example.invoke("Signup/ann/status")).json() == "signed up"


@of("signup_workflow", SIGNUP_PATIENCE_SECONDS="0.1")
async def test_a_signup_gives_up_or_refuses(example: Example) -> None:
    user = '{"name": "Bob", "email": "bob@example.org"}'
    late = await example.invoke("Signup/bob/run", user)

    assert (late.status_code, late.json()["message"]) == (410, "nobody clicked the link")
    assert (await example.invoke("Signup/bob/status")).json() == "gave up"


@of("fan_out")
async def test_pages_are_counted_side_by_side(example: Example) -> None:
    counted, fastest = await example.run_header()

    assert counted.json()["to"] == 3
    assert sorted(fastest.json()) == ["a", "bb", "ccc"]
    assert (await example.invoke("Reports/count", "[]")).json() == {}
    quick = await example.invoke("Reports/first_or_nothing", '"one two one"')
    assert quick.json() == {"one": 2, "two": 1}
    await example.check_statements()


@of("approvals", EXPENSE_REMIND_SECONDS="0.2", HOWDAH_INACTIVITY_TIMEOUT="0s")
async def test_an_expense_waits_for_a_yes_over_http(example: Example) -> None:
    lunch, laptop, look = await example.run_header()
    assert (lunch.status_code, laptop.status_code, look.status_code) == (202, 202, 200)
    approval = await until(
        example.db, "select value_json #>> '{}' from howdah.state where name = 'approval'"
    )
    assert (await example.invoke("Expense/laptop/look")).json() == "waits for a decision"
    await until(example.db, "select value = '2' from howdah.state where name = 'reminders'")
    await example.http.post(
        f"/restate/awakeables/{approval}/resolve", json={"by": "Bob", "is_approved": True}
    )
    attach = f"/restate/invocation/{laptop.json()['invocationId']}/attach"

    assert (await example.http.get(attach)).json() == "paid, said Bob"
    assert (await example.invoke("Expense/lunch/look")).json() == "paid, said the rules"
    assert example.server.said.count("paid 1800.00 to Ann") == 1
    assert "to the boss, again" in example.server.said


@of("approvals")
async def test_an_expense_is_refused_in_sql(example: Example) -> None:
    _, laptop, _ = await example.run_header()
    await until(example.db, "select exists (select from howdah.state where name = 'approval')")
    await example.check_statements()  # the second one refuses
    attach = f"/restate/invocation/{laptop.json()['invocationId']}/attach"

    assert (await example.http.get(attach)).json() == "refused, said Bob"
    assert await example.db.fetch("select * from howdah.check()") == []


def test_the_page_lists_every_example() -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    names = {path.name for path in EXAMPLES.glob("*.py")}

    assert names == {name for name in names if f"`{name}`" in page}
    for name in names - {"tickets_demo.py"}:
        assert f"howdah serve examples/{name}" in header(name.removesuffix(".py"))
