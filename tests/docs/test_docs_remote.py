"""docs/remote.md, followed by somebody who has nothing but the page."""

import re

import pytest

from support.pages import Block, Shell, blocks_of

BLOCKS = blocks_of("remote.md")
(PROGRAM,) = (block for block in BLOCKS if block.file == "greeter.py")
CONSOLES = {block.section: block for block in BLOCKS if block.language == "console"}
STARTS_SERVERS = "Where endpoints may be"


@pytest.fixture(autouse=True)
def program(shell: Shell) -> None:
    """The page's program, where the commands run."""
    (shell.folder / "greeter.py").write_text(PROGRAM.text)


def follow(shell: Shell, block: Block) -> None:
    for line, said in block.commands:
        command = re.sub(r"\s{2,}# .*", "", line).strip()
        if command.startswith("pip "):
            continue
        if said:
            shell.check(command, said)
        else:
            printed = shell.run(command)
            assert shell.last_code == 0, (command, printed)


@pytest.mark.timeout(180)
def test_the_page_can_be_followed(shell: Shell) -> None:
    for section, block in CONSOLES.items():
        if section != STARTS_SERVERS:
            follow(shell, block)


@pytest.mark.timeout(180)
def test_serve_reaches_this_machine_if_it_is_allowed_to(shell: Shell) -> None:
    start = "hypercorn greeter:app --bind 127.0.0.1:9080 &"
    register = "howdah deployments register http://127.0.0.1:9080"
    follow(shell, CONSOLES[STARTS_SERVERS])
    shell.run(start)

    printed = shell.run(register)

    assert shell.last_code == 0, printed
    assert {start, register} <= {
        re.sub(r"\s{2,}# .*", "", line) for line, _ in CONSOLES["Start"].commands
    }


def test_every_block_is_followed() -> None:
    assert {block.language for block in BLOCKS} == {"python", "console"}
    assert len(CONSOLES) == sum(block.language == "console" for block in BLOCKS)
    assert list(CONSOLES) == ["Start", STARTS_SERVERS, "Versions"]
