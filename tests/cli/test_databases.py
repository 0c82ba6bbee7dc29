"""Which database a command works on, and what it says when there is none."""

from pathlib import Path
from uuid import uuid4

import pytest

from support.commands import Cli, howdah
from support.servers import HowdahProcess

PROGRAM = Path(__file__).with_name("program.py")
COMMANDS = [
    ("invocations", "list"),
    ("services", "list"),
    ("deployments", "list"),
    ("state", "get", "Cart", "joe"),
    ("send", "Payments/charge", "7"),
    ("signal", "0192f0c1-2b3c-7d4e-8f50-617283940a1b", "go"),
    ("invocations", "resume", "--deployment", "latest"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_without_schema_is_said(empty_dsn: str, command: tuple[str, ...]) -> None:
    said = Cli(empty_dsn).refused(*command)

    assert "has no howdah schema" in said
    assert "howdah migrate" in said


def test_an_empty_database_has_nothing_to_show(dsn: str) -> None:
    cli = Cli(dsn)

    assert "There are no such invocations" in cli.out("invocations", "list", "--all")
    assert "howdah serve" in cli.out("services", "list")
    assert "howdah serve" in cli.out("deployments", "list")
    assert cli.json("invocations", "list") == []
    assert "No worker has registered any yet" in cli.refused("send", "Payments/charge", "7")


def test_a_database_that_is_not_there_is_said() -> None:
    said = Cli("postgresql://howdah@127.0.0.1:1/howdah").run("invocations", "list")

    assert said.returncode == 1
    last = said.stderr.splitlines()[-1]
    assert "The database at postgresql://howdah@127.0.0.1:1/howdah stayed away" in last


def test_a_database_that_refuses_is_said(dsn: str) -> None:
    said = Cli(dsn.replace("/t_", "/nothing_")).refused("invocations", "list")

    assert "refuses the connection" in said


def test_what_a_role_may_not_do_is_said(dsn: str) -> None:
    cli, role = Cli(dsn), f"nosy_{uuid4().hex}"
    cli.sql(f"create role {role}")
    try:
        said = Cli(f"{dsn}&role={role}").refused("invocations", "list")
    finally:
        cli.sql(f"drop role {role}")

    assert "Postgres refuses the statement: permission denied" in said


def test_no_database_is_made_to_look_at_it(tmp_path: Path) -> None:
    ran = howdah("invocations", "list", folder=tmp_path)

    assert ran.returncode == 1
    assert "There is no database in .howdah" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_embedded_server_is_adopted_and_started(tmp_path: Path, new_dir: Path) -> None:
    data_dir = str(new_dir / "data")
    server = HowdahProcess(
        tmp_path / "output",
        "dev",
        str(PROGRAM),
        HOWDAH_INGRESS="127.0.0.1:0",
        HOWDAH_ADMIN="127.0.0.1:0",
        HOWDAH_DATA_DIR=data_dir,
    )
    try:
        server.wait_until_said("Try next")
        assert f"howdah invocations list --all --data-dir {data_dir}" in server.said
        sent = howdah("send", "Payments/charge", "7", "--data-dir", data_dir)
        id_ = sent.stdout.strip()
        server.wait_until_said(f"{id_}  Payments/charge  succeeded")
        assert server.stop() == 0
    finally:
        server.end()

    alone = howdah("invocations", "list", "--all", HOWDAH_DATA_DIR=data_dir)

    assert id_ in alone.stdout
