"""The official command line of Restate, as people run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

from support import npm

PACKAGE: Final = "@restatedev/restate"
VERSION: Final = "1.7.12"
COMMAND_SECONDS: Final = 50
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


def install(folder: Path) -> Path:
    """Install the command into a folder, unless it is there; returns the folder for the path."""
    return npm.install(folder, PACKAGE, VERSION) / ".bin"


class Restate:
    """Runs `restate` on one howdah.

    Attributes:
        environment: What the commands see.
    """

    def __init__(self, programs: Path, home: Path, *, admin: str, ingress: str) -> None:
        self._program = programs / "restate"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("RESTATE_", "CI"))},
            "HOME": str(home),
            "NO_PROXY": "127.0.0.1",
            "RESTATE_ADMIN_URL": admin,
            "RESTATE_INGRESS_URL": ingress,
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command; both its streams are in `stdout`."""
        return self._run(arguments, environment, subprocess.STDOUT)

    def printed(self, *arguments: str) -> str:
        """What a command that succeeds writes on standard output alone: what a pipe gets."""
        ran = self._run(arguments, {}, subprocess.PIPE)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def _run(
        self, arguments: tuple[str, ...], environment: dict[str, str], stderr: int
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            env={**self.environment, **environment},
        )

    def out(self, *arguments: str, **environment: str) -> str:
        """What a command that succeeds says: lines without colours, words one space apart."""
        ran = self.run(*arguments, **environment)
        assert ran.returncode == 0, ran.stdout
        return plain(ran.stdout)

    def refused(self, *arguments: str) -> str:
        """What a command says that cannot do what was asked."""
        ran = self.run(*arguments)
        assert ran.returncode == 1, ran.stdout
        return plain(ran.stdout)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What `restate sql --json` prints."""
        rows: list[dict[str, Any]] = json.loads(self.printed("sql", "--json", query))
        return rows

    def status(self, id_: str) -> str | None:
        """The status of an invocation in Restate's words."""
        rows = self.rows(f"select status from sys_invocation where id = '{id_}'")
        return rows[0]["status"] if rows else None


def plain(printed: str) -> str:
    """What was printed, without colours and columns."""
    lines = (" ".join(line.split()) for line in _COLOURS.sub("", printed).splitlines())
    return "\n".join(line for line in lines if line)
