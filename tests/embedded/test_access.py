import os
import stat
import subprocess
from pathlib import Path

import pytest

from howdah.embedded import EmbeddedPostgres, accounts, layout, programs
from howdah.errors import InvalidOption, StoreError
from support.embedded import parent_of, query

pytestmark = pytest.mark.durability

STRANGER = accounts.Account(uid=65534, gid=65534, is_other=True)


def connect_as_stranger(server: EmbeddedPostgres) -> "subprocess.CompletedProcess[str]":
    """Try to become the superuser from the account nobody; only root can try."""
    psql = programs.find(STRANGER).bin_dir / "psql"
    return subprocess.run(
        [str(psql), server.superuser_dsn, "-c", "select 1"],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        **STRANGER.popen_options(),
    )


async def test_nobody_else_can_enter_data_or_socket(
    server: EmbeddedPostgres, is_root: bool
) -> None:
    home = server.data_dir / "postgres"

    for name in ("data", "socket"):
        found = (home / name).stat()
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert (found.st_uid != os.geteuid()) is is_root
    assert stat.S_IMODE((home / "postgres.log").stat().st_mode) == 0o600
    if is_root:
        assert "Permission denied" in connect_as_stranger(server).stderr


async def test_who_gets_past_the_directory_is_not_let_in_either(
    server: EmbeddedPostgres, is_root: bool
) -> None:
    socket_dir = server.data_dir / "postgres" / "socket"
    socket_dir.chmod(0o711)
    (socket_dir / ".s.PGSQL.5432").chmod(0o777)

    rules = await query(
        server.superuser_dsn,
        "select string_agg(format('%s %s', type, auth_method), ', ') from pg_hba_file_rules",
    )

    assert rules == "local peer"
    if is_root:
        assert "Peer authentication failed" in connect_as_stranger(server).stderr


async def test_nothing_runs_as_root(server: EmbeddedPostgres) -> None:
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0
    status = Path(f"/proc/{server.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert parent_of(server.pid) != os.getpid()


def test_an_account_that_does_not_exist_is_refused(
    new_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("HOWDAH_PG_UID", "no-such-account")

    with pytest.raises(InvalidOption, match="no-such-account"):
        accounts.choose(new_dir / "none")


def test_root_is_refused_as_the_servers_account(
    new_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("HOWDAH_PG_UID", "0")

    with pytest.raises(InvalidOption, match="not an unprivileged account"):
        accounts.choose(new_dir / "none")


def test_a_home_of_another_account_is_refused(
    new_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (new_dir / "postgres").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 54321)

    with pytest.raises(StoreError, match="belongs to another account"):
        layout.lay_out(new_dir)


def test_a_directory_below_a_closed_one_cannot_be_reached(new_dir: Path) -> None:
    closed = new_dir / "closed"
    inside = closed / "inside"
    inside.mkdir(parents=True)
    closed.chmod(0o700)

    assert not STRANGER.can_reach(inside)


def test_programs_work_from_the_copy_that_root_makes_for_other_accounts(
    new_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "SHARED_DIR", new_dir)
    monkeypatch.setattr(programs, "make_shared_dir", lambda: None)
    new_dir.chmod(0o755)
    monkeypatch.setattr(accounts.Account, "can_reach", lambda _self, _path: False)
    account = accounts.Account(uid=os.geteuid(), gid=os.getegid(), is_other=True)
    monkeypatch.setattr(accounts.Account, "popen_options", lambda _self: {})

    first = programs.find(account)
    again = programs.find(account)

    assert first == again
    assert first.bin_dir.is_relative_to(new_dir)
    told = subprocess.run([first.bin_dir / "psql", "--version"], check=True, capture_output=True)
    assert b"PostgreSQL" in told.stdout


def test_a_shared_directory_that_others_can_write_to_is_refused(
    new_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_dir.chmod(0o777)
    monkeypatch.setattr(programs, "SHARED_DIR", new_dir)

    with pytest.raises(StoreError, match="only root can write"):
        programs.make_shared_dir()
