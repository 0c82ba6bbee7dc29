"""The commands beside `serve`, each as a process with its exit code."""

from pathlib import Path

import pytest

from howdah.store.access import redacted
from support.commands import howdah
from support.servers import HowdahProcess


def test_invoke_prints_the_result(server: HowdahProcess) -> None:
    ran = howdah("invoke", "Echo/double", "21", "--ingress", server.ingress)

    assert (ran.returncode, ran.stdout) == (0, "42\n")


def test_invoke_takes_keys_of_any_characters(server: HowdahProcess) -> None:
    ran = howdah("invoke", "Counter/é ü/own_key", "--ingress", server.ingress)

    assert (ran.returncode, ran.stdout) == (0, '"é ü"\n')


def test_invoke_sends_with_a_delay(server: HowdahProcess) -> None:
    arguments = ("invoke", "Echo/double", "1", "--ingress", server.ingress, "--delay", "1h")
    ran = howdah(*arguments, "--idempotency-key", "only once")
    again = howdah(*arguments, "--idempotency-key", "only once")

    assert '"executionTime"' in ran.stdout
    assert '"PreviouslyAccepted"' in again.stdout


def test_invoke_tells_a_failure_on_stderr(server: HowdahProcess) -> None:
    ran = howdah("invoke", "Echo/fail", "418", "--ingress", server.ingress)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert "status 418" in ran.stderr
    assert "out of seats" in ran.stderr


def test_invoke_says_when_nobody_listens() -> None:
    ran = howdah("invoke", "Echo/double", "1", "--ingress", "127.0.0.1:1")

    assert ran.returncode == 2
    assert ran.stderr.startswith("howdah: Nothing answers at http://127.0.0.1:1")


def test_sql_prints_rows_as_a_table(dsn: str) -> None:
    statement = "select 1 as one, '[bold]x' as text, null as nothing, true as yes"
    ran = howdah("sql", statement, HOWDAH_DATABASE_URL=dsn)

    assert ran.returncode == 0
    assert all(word in ran.stdout for word in ("one", "[bold]x", "true", "(1 row)"))


def test_sql_says_what_is_wrong_with_a_statement(dsn: str) -> None:
    ran = howdah("sql", "selec 1", "--database-url", dsn)

    assert ran.returncode == 2
    assert 'syntax error at or near "selec"' in ran.stderr


def test_check_finds_a_fresh_database_consistent(dsn: str) -> None:
    ran = howdah("check", HOWDAH_DATABASE_URL=dsn)

    assert (ran.returncode, ran.stdout) == (0, "everything is consistent\n")


def test_migrate_goes_up_and_down(empty_dsn: str) -> None:
    up = howdah("migrate", HOWDAH_DATABASE_URL=empty_dsn)
    again = howdah("migrate", HOWDAH_DATABASE_URL=empty_dsn)
    down = howdah("migrate", "--to", "base", HOWDAH_DATABASE_URL=empty_dsn)

    assert up.returncode == again.returncode == down.returncode == 0
    assert up.stdout == again.stdout
    assert down.stdout.endswith("is at revision base\n")


def test_a_database_that_refuses_is_one_line(postgres_server: object, dsn: str) -> None:
    ran = howdah("check", HOWDAH_DATABASE_URL=dsn.replace("/t_", "/nothing_"))

    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("dsn_given", "shown"),
    [
        ("postgresql://u:secret@h:1/d", "postgresql://u:***@h:1/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://u:p@ss@h/d", "postgresql://u:***@h/d"),
        ("postgresql:///d?host=/run", "postgresql:///d?host=/run"),
        ("postgresql://u@h/d?password=secret", "postgresql://u@h/d?password=***"),
    ],
)
def test_a_password_is_never_shown(dsn_given: str, shown: str) -> None:
    assert redacted(dsn_given) == shown


def test_serve_runs_on_the_embedded_postgres_without_a_url(tmp_path: Path, new_dir: Path) -> None:
    program = Path(__file__).with_name("program.py")
    server = HowdahProcess(
        tmp_path / "output",
        "serve",
        str(program),
        HOWDAH_INGRESS="127.0.0.1:0",
        HOWDAH_ADMIN="127.0.0.1:0",
        HOWDAH_DATA_DIR=str(new_dir / "data"),
    )
    try:
        called = howdah("invoke", "Echo/double", "4", "--ingress", server.ingress)
        listed = howdah(
            "sql", "select name from howdah.services", "--data-dir", str(new_dir / "data")
        )

        assert called.stdout == "8\n"
        assert "Counter" in listed.stdout
        assert server.stop() == 0
    finally:
        server.end()


def test_the_version_is_told() -> None:
    assert howdah("--version").stdout.startswith("howdah, version ")
