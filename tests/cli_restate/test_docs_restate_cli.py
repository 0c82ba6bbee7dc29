"""docs/restate-cli.md, followed by somebody who has nothing but the page."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pages import Block, Shell, blocks_of
from support.servers import Servers

BLOCKS = blocks_of("restate-cli.md")
COMMANDS = ("whoami", "services", "deployments", "invocations", "state", "sql")


@pytest.fixture
def shell(dsn: str, tmp_path: Path, programs: Path) -> Iterator[Shell]:
    """A shell in a folder with the page's programs, and with `restate`."""
    servers = Servers(tmp_path)
    started = Shell(tmp_path, servers, dsn)
    started.variables = {
        "HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
        "RESTATE_ADMIN_URL": started.with_ports("http://127.0.0.1:9070"),
        "RESTATE_INGRESS_URL": started.with_ports("http://127.0.0.1:8080"),
        "EDITOR": str(tmp_path / "editor"),
    }
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/pear/plum/ "$1"\n')
    editor.chmod(0o755)
    os.symlink(programs / "restate", tmp_path / "bin" / "restate")
    for block in BLOCKS:
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text)
    yield started
    started.end()
    servers.end()


def follow(shell: Shell, block: Block) -> None:
    for command, said in block.commands:
        if command.startswith("howdah serve "):
            shell.serve(*shlex.split(command)[2:-1], HOWDAH_ENDPOINT_ALLOW="127.0.0.0/8")
        elif said:
            shell.check(command, shell.with_ports(said))
        elif not command.startswith("npm "):
            printed = shell.run(command)
            assert shell.last_code == 0, (command, printed)


@pytest.mark.timeout(240)
def test_the_page_can_be_followed(shell: Shell) -> None:
    for block in BLOCKS:
        if block.language == "console":
            follow(shell, block)


def test_every_group_of_commands_is_on_the_page() -> None:
    run = {
        command.partition("restate ")[2].split()[0]
        for block in BLOCKS
        for command, _ in block.commands
        if "restate " in command and not command.startswith("npm ")
    }

    assert run == set(COMMANDS)
