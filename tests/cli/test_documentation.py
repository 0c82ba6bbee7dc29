"""docs/cli.md: its commands are all that there are, and each of them runs as it is written."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from howdah_api.cli import main
from howdah_api.commands.program import Group
from support.commands import howdah
from support.servers import ON_TEST_SERVER, HowdahProcess, Servers

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
REMOTE = (Path(__file__).parents[2] / "docs" / "remote.md").read_text()
PROGRAM = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)[0]
LINES = re.findall(r"^\$ (.*)$", PAGE, re.M)
SERVERS = [line for line in LINES if line.startswith(("howdah serve", "howdah dev"))]
COMMANDS = [line for line in LINES if line not in SERVERS]


def commands_of(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_of(command, *names, name)
        elif not command.hidden:
            yield (*names, name)


ALL = list(commands_of(main))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's program, and `howdah` for a shell."""
    (tmp_path / "shop.py").write_text(PROGRAM)
    shim = tmp_path / "bin" / "howdah"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m howdah_api "$@"\n')
    shim.chmod(0o755)
    return tmp_path


def environment(folder: Path, dsn: str, **more: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HOWDAH_")}
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return {
        **inherited, **ON_TEST_SERVER, "PATH": path, "HOWDAH_DATABASE_URL": dsn, **more
    }  # fmt: skip


def test_the_page_shows_every_command() -> None:
    # Registering needs an endpoint of another SDK: the page on those shows and runs it.
    shown = " ".join([*LINES, REMOTE])

    assert [names for names in ALL if f"howdah {' '.join(names)}" not in shown] == []


def test_every_command_has_a_section_in_the_help() -> None:
    assert isinstance(main, Group)
    groups = [main, *(one for one in main.commands.values() if isinstance(one, Group))]
    for group in groups:
        if group.sections:
            listed = [name for names in group.sections.values() for name in names]
            assert sorted(listed) == sorted(
                name for name, command in group.commands.items() if not command.hidden
            )


def test_every_command_explains_itself() -> None:
    for names in ALL:
        command: click.Command = main
        for name in names:
            assert isinstance(command, click.Group)
            command = command.commands[name]
        assert (command.help or "").partition("\n")[0].endswith((".", ",")), names
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help or parameter.hidden, (names, parameter.name)


@pytest.mark.timeout(240)
def test_every_command_of_the_page_runs(servers: Servers, dsn: str, folder: Path) -> None:
    served = servers.serve(dsn, str(folder / "shop.py"))
    script = "\n".join(f"echo {number}; {line} || exit 1" for number, line in enumerate(COMMANDS))

    ran = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=220,
        env=environment(folder, dsn, HOWDAH_INGRESS=served.ingress.removeprefix("http://")),
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip

    last = int(re.findall(r"^(\d+)$", ran.stdout, re.M)[-1])
    assert ran.returncode == 0, f"{COMMANDS[last]}\n{ran.stdout[-2000:]}\n{ran.stderr}"
    assert "everything is consistent" in ran.stdout


@pytest.mark.parametrize("line", SERVERS)
def test_every_server_of_the_page_starts(
    servers: Servers, dsn: str, folder: Path, line: str
) -> None:
    arguments = line.removeprefix("howdah ").replace("shop.py", str(folder / "shop.py")).split()
    served: HowdahProcess = servers.run(
        *arguments, HOWDAH_DATABASE_URL=dsn, HOWDAH_INGRESS="127.0.0.1:0",
        HOWDAH_ADMIN="127.0.0.1:0", PYTHONPATH=str(folder),
    )  # fmt: skip

    served.wait_until_said("Try next")
    assert served.stop() == 0


# --- help, suggestions and completion ------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [(["invocatons", "list"], "invocations"), (["state", "gte", "Cart", "ann"], "get")],
)
def test_a_mistyped_command_is_answered_with_a_suggestion(
    arguments: list[str], suggested: str
) -> None:
    ran = howdah(*arguments)

    assert ran.returncode == 2
    assert f"Did you mean {suggested}?" in ran.stderr


def test_help_is_shown_in_sections() -> None:
    assert isinstance(main, Group)
    said = howdah("--help").stdout

    assert said.startswith("Usage: howdah [OPTIONS] COMMAND")
    assert [line for line in said.splitlines() if re.fullmatch(r"[A-Z].*:", line)] == [
        "Options:",
        *(f"{head}:" for head in main.sections),
    ]
    assert "serve-child" not in said


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("howdah invo", ["invocations", "invoke"]),
        ("howdah invocations res", ["resume", "restart"]),
        ("howdah invocations list --status pa", ["paused"]),
    ],
)
def test_the_shell_completes(dsn: str, folder: Path, words: str, completed: list[str]) -> None:
    count = len(words.split()) - 1

    ran = subprocess.run(
        ["howdah"], capture_output=True, text=True, timeout=30, check=False,
        env=environment(folder, dsn, _HOWDAH_COMPLETE="bash_complete", COMP_WORDS=words,
                        COMP_CWORD=str(count)),
    )  # fmt: skip

    assert sorted(line.split(",")[1] for line in ran.stdout.splitlines()) == sorted(completed)
    shown = re.findall(r"_HOWDAH_COMPLETE=(\w+)", PAGE)
    assert set(shown) == {"bash_source", "fish_source"}
