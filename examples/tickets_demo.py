"""Play the ticket shop from request to answer, with a kill -9 in the middle, and show it in SQL.

    make demo

It starts `howdah serve examples/tickets.py` on an embedded Postgres in a folder of its own, asks
for a seat, kills the server while the seat is being reserved, starts it again, and prints each
stage with the statement that shows it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from rich.console import Console
from rich.table import Table

from howdah.embedded import EmbeddedPostgres

HERE = Path(__file__).resolve().parent
WAIT_SECONDS = 60
console = Console(width=118, highlight=False)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """`howdah serve` as a process of its own."""

    def __init__(self, data_dir: Path, port: int, admin: int) -> None:
        self._command = [
            sys.executable, "-m", "howdah_api", "serve", str(HERE / "tickets.py"),
            "--data-dir", str(data_dir), "--ingress", f"127.0.0.1:{port}",
            "--admin", f"127.0.0.1:{admin}",
        ]  # fmt: skip
        self._log = (data_dir.parent / "server.log").open("ab")
        self._health = f"http://127.0.0.1:{port}/restate/health"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> int:
        """Start it and wait until it answers; returns the process id."""
        settings = {
            **os.environ,
            "HOWDAH_INACTIVITY_TIMEOUT": "0s",
            "TICKETS_VENUE_SECONDS": "2",
        }
        self._process = subprocess.Popen(
            self._command, stdout=self._log, stderr=self._log, env=settings
        )
        async with httpx.AsyncClient() as client:
            for _ in range(WAIT_SECONDS * 10):
                if self._process.poll() is not None:
                    break
                try:
                    if (await client.get(self._health)).status_code == 200:
                        return self._process.pid
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)
        raise SystemExit(f"the server did not start; its log is {self._log.name}")

    def kill(self) -> None:
        """End it by kill -9: no clean-up of any kind."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM: drain and end; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=WAIT_SECONDS)


class Story:
    """Prints stages, each with its SQL and rows."""

    def __init__(self, db: asyncpg.Connection[Any]) -> None:
        self._db = db

    async def show(self, stage: str, query: str, *arguments: Any) -> None:
        """One stage: the sentence, the statement, what it returns."""
        console.print(f"\n[bold cyan]{stage}[/]")
        statement = query
        for number, argument in enumerate(arguments, 1):
            statement = statement.replace(f"${number}", f"'{argument}'")
        console.print(f"  [dim]{statement}[/]")
        rows = await self._db.fetch(query, *arguments)
        if not rows:
            console.print("  (no rows)")
            return
        table = Table(show_edge=False, pad_edge=False)
        for name in rows[0].keys():  # noqa: SIM118  a record iterates over its values
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row))
        console.print(table)

    async def until(self, query: str, *arguments: Any) -> Any:
        """Wait until a statement's first column is true."""
        for _ in range(WAIT_SECONDS * 50):
            value = await self._db.fetchval(query, *arguments)
            if value:
                return value
            await asyncio.sleep(0.02)
        raise SystemExit(f"this did not happen in {WAIT_SECONDS} s: {query}")


async def ask(port: int, customer: str) -> httpx.Response:
    """POST /CartObject/<customer>/addTicket with body "seat2B"; may be asked again safely."""
    async with httpx.AsyncClient(timeout=WAIT_SECONDS) as client:
        return await client.post(
            f"http://127.0.0.1:{port}/CartObject/{customer}/addTicket",
            json="seat2B",
            headers={"idempotency-key": f"{customer}-seat2B"},
        )


BY_KEY = "(select id from howdah.invocations where idempotency_key = 'joe-seat2B')"


async def play(folder: Path) -> None:
    """The thirteen stages."""
    port, admin = free_port(), free_port()
    server = Server(folder / "data", port, admin)
    with console.status("starting howdah on an embedded Postgres"):
        pid = await server.start()
        postgres = await EmbeddedPostgres.start(folder / "data")
    db = await asyncpg.connect(postgres.dsn)
    story = Story(db)
    try:
        await story.show(
            "1  A request arrives; Joe's cart is []",
            "select value from howdah.state where service = 'CartObject' and key = 'joe'",
        )
        request = asyncio.create_task(ask(port, "joe"))
        joe = await story.until(f"select id from {BY_KEY} as x(id)")
        await story.show(
            "2  It was persisted before any code ran",
            "select id, target, input, invoked_by, created_at from howdah.invocations where id = $1",
            joe,
        )
        await story.until("select status = 'suspended' from howdah.invocations where id = $1", joe)
        await story.show(
            "3  The handler was invoked, with the cart's state",
            "select target, attempts, started_at - created_at as after, worker "
            "from howdah.invocations where id = $1",
            joe,
        )
        await story.show(
            "4  Its call to TicketObject/seat2B/reserve is in the journal",
            "select index, type, target, callee_id from howdah.journal "
            "where invocation_id = $1 order by index",
            joe,
        )
        await story.show(
            "5  The callee came into being in the same commit; the caller is suspended",
            "select target, status, waiting_for from howdah.invocations "
            "where id = $1 or parent_id = $1 order by created_at",
            joe,
        )
        server.kill()
        console.print(f"\n[bold red]   kill -9 {pid}[/]: nothing of the server is left")
        try:
            await request
        except httpx.TransportError as error:
            console.print(f"   Joe's connection broke ({type(error).__name__}); he will ask again")
        with console.status("starting howdah again"):
            await server.start()
        request = asyncio.create_task(ask(port, "joe"))
        await story.show(
            "6  The callee has a journal of its own",
            "select index, type, name, value from howdah.journal where invocation_id = "
            "(select id from howdah.invocations where parent_id = $1 and handler = 'reserve') "
            "and index < 3 order by index",
            joe,
        )
        response = await request
        await story.show(
            "7  The other process found the lease free, ran the callee again, and it succeeded",
            "select target, status, outcome, output, attempts, worker from howdah.invocations "
            "where parent_id = $1 and handler = 'reserve'",
            joe,
        )
        for stage, indexes in (
            ("8  Its result is in the caller's journal, committed together", "2"),
            ("9  The caller resumed there, replayed from its journal (attempts)", None),
            ("10 It read its cart", "3"),
            ('11 It set ["seat2B"]', "4"),
        ):
            if indexes is None:
                await story.show(
                    stage,
                    "select target, attempts, worker from howdah.invocations where id = $1",
                    joe,
                )
            else:
                await story.show(
                    stage,
                    "select index, type, name, value, appended_at from howdah.journal "
                    f"where invocation_id = $1 and index = {indexes}",
                    joe,
                )
        await story.show(
            "12 It completed; the result is stored, and so is the cart",
            "select i.status, i.outcome, i.output, s.value as cart from howdah.invocations i "
            "join howdah.state s on s.key = i.key and s.name = 'cart' where i.id = $1",
            joe,
        )
        console.print("\n[bold cyan]13 The answer was sent[/]")
        console.print(f"  HTTP {response.status_code} {response.text}")
        assert response.text == "true", response.text

        ann = await ask(port, "ann")
        console.print(f"\n   Ann wants the same seat: HTTP {ann.status_code} {ann.text}")
        assert ann.text == "false", ann.text
        await story.show(
            "   All that is durable, checked: no row means that every invariant holds",
            "select * from howdah.check()",
        )
        code = server.stop()
        console.print(f"\n   SIGTERM: drained, exit code {code}")
        assert code == 0
        assert not await db.fetch("select * from howdah.check()")
    finally:
        await db.close()
        await postgres.stop()
    console.print(
        "\n[bold green]It went on where it stood.[/] What to try next:\n"
        "  make serve                                            the shop on 127.0.0.1:8080\n"
        "  .venv/bin/howdah invoke CartObject/joe/addTicket '\"seat2B\"'\n"
        "  .venv/bin/howdah sql 'select target, status, output from howdah.invocations'\n"
        "  $EDITOR examples/tickets.py                           a program of your own"
    )


def main() -> None:
    """Play it in a folder that is removed afterwards."""
    # Short, and readable by the account that Postgres runs under.
    folder = Path(tempfile.mkdtemp(prefix="howdah-demo-"))
    folder.chmod(0o711)
    try:
        asyncio.run(play(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
