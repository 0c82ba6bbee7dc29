"""The example of a remote service: one command starts all of it, and its header's commands run."""

import ast
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from support.commands import howdah, until
from support.engines import assert_healthy
from support.servers import ON_TEST_SERVER

FOLDER = Path(__file__).parents[2] / "examples" / "remote_python"
HEADER = ast.get_docstring(ast.parse((FOLDER / "service.py").read_text())) or ""
COMMANDS = re.findall(r"^    (howdah .*)$", HEADER, re.M)
STATEMENTS = re.findall(r"^    (select .*?);$", HEADER, re.M | re.S)


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def environment(dsn: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The example, started; what its commands find it by."""
    found = {
        "HOWDAH_DATABASE_URL": dsn,
        "HOWDAH_INGRESS": free_address(),
        "HOWDAH_ADMIN": free_address(),
    }
    output = tmp_path / "output"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, str(FOLDER)],
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
            env={**os.environ, **ON_TEST_SERVER, **found, "ENDPOINT": free_address()},
        )

    def is_registered() -> bool:
        said = output.read_text()
        assert process.poll() is None, said
        return "is registered" in said

    until(is_registered, seconds=60)
    yield found
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, output.read_text()


async def test_the_example_does_what_its_header_says(
    environment: dict[str, str], db: "asyncpg.Connection[Any]"
) -> None:
    deposited, moved, refused, balance = (
        howdah(*shlex.split(command)[1:], folder=None, stdin=None, **environment)
        for command in COMMANDS
    )

    assert deposited.stdout.strip() == "100"
    assert moved.stdout.strip() == '"receipt 1"'
    assert (refused.returncode, "ann has only 70" in refused.stderr) == (1, True)
    assert balance.stdout.strip() == "30"
    assert STATEMENTS
    for statement in STATEMENTS:
        assert await db.fetch(statement), statement
    await assert_healthy(db)
