"""`howdah` as people run it: one command, to its end."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

from support.servers import ON_TEST_SERVER

COMMAND_SECONDS = 60
BOUND_SECONDS = 30.0
ENDS = ("succeeded", "failed", "killed")


def howdah(
    *arguments: str, folder: Path | None = None, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command; without `stdin` there is nothing to read."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HOWDAH_")}
    return subprocess.run(
        [sys.executable, "-m", "howdah_api", *arguments],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
        cwd=folder,
        env={**inherited, **ON_TEST_SERVER, **environment},
        **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}),
    )


class Cli:
    """Runs commands on one database."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def run(self, *arguments: str, stdin: str | None = None) -> Any:
        return howdah(*arguments, HOWDAH_DATABASE_URL=self.dsn, stdin=stdin)

    def out(self, *arguments: str, stdin: str | None = None) -> str:
        """What a command that succeeds prints."""
        ran = self.run(*arguments, stdin=stdin)
        assert ran.returncode == 0, ran
        printed: str = ran.stdout
        return printed

    def json(self, *arguments: str) -> Any:
        return json.loads(self.out(*arguments, "--json"))

    def refused(self, *arguments: str, code: int = 1) -> str:
        """The one line that a command says when it cannot do what was asked."""
        ran = self.run(*arguments)
        assert (ran.returncode, ran.stdout) == (code, ""), ran
        said: str = ran.stderr
        assert said.count("\n") == 1, said
        return said

    def send(self, *arguments: str) -> str:
        return self.out("send", *arguments).strip()

    def sql(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        async def ask() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self.dsn)
            try:
                return [tuple(row) for row in await connection.fetch(query, *arguments)]
            finally:
                await connection.close()

        return asyncio.run(ask())

    def status(self, id_: str) -> str:
        rows = self.sql(
            "select coalesce(outcome, status) from howdah.invocations where id = $1", id_
        )
        return str(rows[0][0]) if rows else "gone"

    def wait_for(self, id_: str, *statuses: str) -> str:
        """Wait until an invocation has one of these statuses or outcomes."""

        def look() -> str | None:
            status = self.status(id_)
            if status not in statuses and status in ENDS:
                raise AssertionError(self.out("invocations", "describe", id_))
            return status if status in statuses else None

        found: str = until(look)
        return found


def until(look: Callable[[], Any], *, seconds: float = BOUND_SECONDS) -> Any:
    """Wait until something is there; the bound is in time, the condition is not."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
