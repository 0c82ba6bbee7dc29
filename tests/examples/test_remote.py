"""The examples of remote services: one command starts each, and the commands of its header run."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from support.commands import howdah, until
from support.engines import assert_healthy
from support.servers import ON_TEST_SERVER

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Example:
    """A folder, the file with the header, what the commands there answer, and what ends it."""

    folder: str
    service: str
    answers: tuple[str, str, str, str]
    signal: signal.Signals

    def listed(self, pattern: str) -> list[str]:
        """What of the header is of one kind."""
        text = (EXAMPLES / self.folder / self.service).read_text()
        lines = [re.sub(r"^// ?", "", line) for line in text.splitlines()]
        return re.findall(pattern, "\n".join(lines), re.M | re.S)


PYTHON = Example(
    "remote_python",
    "service.py",
    ("100", '"receipt 1"', "ann has only 70", "30"),
    signal.SIGINT,
)
TYPESCRIPT = Example(
    "remote_typescript",
    "service.ts",
    ("100", '"parcel for payment of 30"', "there are only 70 of pen", "70"),
    signal.SIGTERM,
)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return str(listening.getsockname()[1])


@pytest.fixture(params=[PYTHON, TYPESCRIPT], ids=lambda example: example.folder)
def example(request: pytest.FixtureRequest) -> Example:
    found: Example = request.param
    return found


@pytest.fixture
def environment(example: Example, dsn: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The example, started; what its commands find it by."""
    folder = tmp_path / "example"
    shutil.copytree(
        EXAMPLES / example.folder, folder, ignore=shutil.ignore_patterns("node_modules")
    )
    found = {
        "HOWDAH_DATABASE_URL": dsn,
        "HOWDAH_INGRESS": f"127.0.0.1:{free_port()}",
        "HOWDAH_ADMIN": f"127.0.0.1:{free_port()}",
    }
    place = free_port()
    output = tmp_path / "output"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, str(folder)],
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
            env={
                **os.environ,
                **ON_TEST_SERVER,
                **found,
                "ENDPOINT": f"127.0.0.1:{place}",
                "PORT": place,
            },
        )

    def is_ready() -> bool:
        said = output.read_text()
        assert process.poll() is None, said
        return "Both are ready" in said

    try:
        until(is_ready, seconds=50)
        yield found
    finally:
        process.send_signal(example.signal)
        code = process.wait(30)
    assert code == 0, output.read_text()
    assert not re.search("Traceback|ERROR", output.read_text()), output.read_text()
    with pytest.raises(ConnectionRefusedError):  # nothing of it is left
        socket.create_connection(("127.0.0.1", int(place)))


async def test_an_example_does_what_its_header_says(
    example: Example, environment: dict[str, str], db: "asyncpg.Connection[Any]", tmp_path: Path
) -> None:
    printed = re.findall(r"^  (howdah (?:invoke|sql) .*)$", (tmp_path / "output").read_text(), re.M)
    commands = example.listed(r"^    (howdah [^\n]*)$")
    given, done, refused, left = (
        howdah(*shlex.split(command)[1:], folder=None, stdin=None, **environment)
        for command in commands
    )
    statements = example.listed(r"^    (select .*?);$")

    assert given.stdout.strip() == example.answers[0]
    assert done.stdout.strip() == example.answers[1]
    assert (refused.returncode, example.answers[2] in refused.stderr) == (1, True)
    assert left.stdout.strip() == example.answers[3]
    assert len(statements) == 4
    for statement in statements:
        assert await db.fetch(statement), statement
    assert printed[:2] == commands[:2]
    for command in printed[2:]:
        ran = howdah(*shlex.split(command)[1:], folder=None, stdin=None, **environment)
        assert ran.returncode == 0, (command, ran.stderr)
    await assert_healthy(db)
