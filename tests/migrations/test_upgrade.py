import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from howdah import migrate
from howdah.errors import InvalidOption, SchemaOutdated, StoreError, StoreUnavailable
from howdah.resources import alembic_dir, sql_files

CATALOG = """
select c.relnamespace::regnamespace::text || '.' || c.relname, c.relkind::text from pg_class c
 where c.relnamespace::regnamespace::text similar to 'howdah%|restate'
union all
select p.oid::regprocedure::text, md5(p.prosrc) from pg_proc p
 where p.pronamespace::regnamespace::text like 'howdah%'
order by 1, 2
"""


REGISTER_MAILER = """
select howdah_core.register_deployment('d', '[{"name": "Mailer", "kind": "service", "handlers": [
  {"name": "send", "kind": "stateless", "input_required": false, "is_public": true,
   "idempotency_retention_seconds": 60, "journal_retention_seconds": 60}]}]')
"""


async def fetch(dsn: str, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(statement, *arguments)]
    finally:
        await connection.close()


async def execute(dsn: str, script: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


def migrator(dsn: str) -> "subprocess.Popen[bytes]":
    """A process that brings the database to the newest revision."""
    program = (
        "import asyncio, sys; from howdah import migrate; asyncio.run(migrate.upgrade(sys.argv[1]))"
    )
    return subprocess.Popen([sys.executable, "-c", program, dsn], stderr=subprocess.PIPE)


async def blocked(dsn: str) -> None:
    """Wait until a session of this database waits for a lock."""
    waiting = """
      select count(*) from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock'"""
    async with asyncio.timeout(20):
        while await fetch(dsn, waiting) == [(0,)]:
            await asyncio.sleep(0.01)


async def test_an_empty_database_is_at_no_revision(empty_dsn: str) -> None:
    assert await migrate.current(empty_dsn) is None
    assert not await migrate.is_current(empty_dsn)
    with pytest.raises(SchemaOutdated):
        await migrate.require_current(empty_dsn)


async def test_an_upgrade_installs_tables_functions_and_views(empty_dsn: str) -> None:
    await migrate.upgrade(empty_dsn)

    assert await migrate.current(empty_dsn) == migrate.head()
    await migrate.require_current(empty_dsn)
    names = {row[0] for row in await fetch(empty_dsn, CATALOG)}
    assert "howdah_core.invocation" in names
    assert any(name.startswith("howdah_core.append_batch(") for name in names)


async def test_only_our_schemas_are_touched(empty_dsn: str) -> None:
    outside = """
      select oid, relname from pg_class
       where relnamespace not in (select oid from pg_namespace where nspname ~ '^(howdah|restate|pg_toast)')
      order by 1"""
    before = await fetch(empty_dsn, outside)

    await migrate.upgrade(empty_dsn)

    assert await fetch(empty_dsn, outside) == before


async def test_a_second_upgrade_changes_nothing(dsn: str) -> None:
    before = await fetch(dsn, "select oid, xmin::text from pg_proc order by oid")

    await migrate.upgrade(dsn)

    assert await fetch(dsn, "select oid, xmin::text from pg_proc order by oid") == before


async def test_down_to_base_and_up_again_gives_the_same_schema(dsn: str) -> None:
    before = await fetch(dsn, CATALOG)

    await migrate.downgrade(dsn)
    emptied = await fetch(
        dsn, "select nspname from pg_namespace where nspname ~ '^(howdah|restate)'"
    )
    await migrate.upgrade(dsn)

    assert emptied == []
    assert await fetch(dsn, CATALOG) == before


async def test_what_was_called_in_a_scope_goes_on_without_it_in_an_older_release(dsn: str) -> None:
    await execute(dsn, REGISTER_MAILER)
    await execute(dsn, "select howdah.send('Mailer', 'send', scope => 'shop', limit_key => 'joe')")
    live = "select status, q from howdah_core.live"
    assert await fetch(dsn, live) == [("held", -1)]

    await migrate.downgrade(dsn, "0004")
    older = await fetch(dsn, live)
    await migrate.upgrade(dsn)

    assert older == [("ready", 1)]
    assert await fetch(dsn, "select status, scope from howdah.invocations") == [("ready", None)]


async def test_migrators_that_start_together_agree(empty_dsn: str) -> None:
    await execute(empty_dsn, "create table public.other (id int)")
    migrators = [migrator(empty_dsn) for _ in range(5)]

    ended = [await asyncio.to_thread(process.communicate) for process in migrators]

    assert [process.returncode for process in migrators] == [0] * 5, ended
    assert await migrate.is_current(empty_dsn)


async def test_who_waited_for_another_migrator_leaves_its_work_alone(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_yet(_dsn: str) -> bool:
        return False

    await migrate.upgrade(empty_dsn)
    before = await fetch(empty_dsn, "select oid, xmin::text from pg_proc order by oid")
    monkeypatch.setattr(migrate, "is_current", not_yet)

    await migrate.upgrade(empty_dsn)

    assert await fetch(empty_dsn, "select oid, xmin::text from pg_proc order by oid") == before


async def test_migrators_see_each_other_whatever_the_databases_isolation(empty_dsn: str) -> None:
    await execute(
        empty_dsn,
        """
        do $$ begin
          execute format('alter database %I set default_transaction_isolation = serializable',
                         current_database());
        end $$""",
    )

    await asyncio.gather(*(migrate.upgrade(empty_dsn) for _ in range(3)))

    assert await migrate.is_current(empty_dsn)


async def test_a_migrator_killed_half_way_leaves_nothing_and_the_next_one_finishes(
    dsn: str,
) -> None:
    await execute(dsn, "comment on schema howdah_core is null")
    before = await fetch(dsn, CATALOG)
    holder = await asyncpg.connect(dsn)
    try:
        # The migrator drops the views and functions first, and then stands before the comment.
        await holder.execute("begin; comment on schema howdah_core is 'held'")
        killed = migrator(dsn)
        await blocked(dsn)
        killed.kill()
        await asyncio.to_thread(killed.communicate)
        await holder.execute("rollback")
    finally:
        await holder.close()

    assert await fetch(dsn, CATALOG) == before
    await migrate.upgrade(dsn)
    assert await migrate.is_current(dsn)


async def test_functions_of_an_older_release_are_replaced(dsn: str) -> None:
    await execute(
        dsn,
        """
        create function howdah_core.gone() returns int language sql as 'select 1';
        create view howdah.gone as select howdah_core.gone();
        comment on schema howdah_core is 'howdah schema 0001 of another release';
        """,
    )

    assert not await migrate.is_current(dsn)
    await migrate.upgrade(dsn)

    names = [row[0] for row in await fetch(dsn, CATALOG)]
    assert not [name for name in names if "gone" in name]
    assert await migrate.is_current(dsn)


async def test_what_was_granted_on_views_and_functions_outlives_an_upgrade(dsn: str) -> None:
    role = f"reader_{os.getpid()}"
    await execute(
        dsn,
        f"""
        create role {role};
        grant execute on function howdah_core.now() to {role};
        comment on schema howdah_core is null;
        """,
    )
    try:
        await migrate.upgrade(dsn)

        granted = "select exists (select from pg_proc p, aclexplode(p.proacl) a where p.oid = "
        granted += "'howdah_core.now()'::regprocedure and a.grantee = $1::text::regrole)"
        assert await fetch(dsn, granted, role) == [(True,)]
    finally:
        await execute(dsn, f"drop owned by {role}; drop role {role}")


async def test_a_view_of_the_users_own_is_named_and_kept(dsn: str) -> None:
    await execute(
        dsn,
        """
        create view public.mine as select howdah_core.now() as at;
        comment on schema howdah_core is null;
        """,
    )

    with pytest.raises(StoreError, match=r"public\.mine"):
        await migrate.upgrade(dsn)

    assert await fetch(dsn, "select count(*) from public.mine") == [(1,)]


async def test_the_views_of_restate_are_replaced_like_ours(dsn: str) -> None:
    await execute(
        dsn,
        """
        create view restate.gone as select 1;
        comment on schema howdah_core is null;
        """,
    )
    await migrate.upgrade(dsn)

    names = [row[0] for row in await fetch(dsn, CATALOG)]
    assert "restate.sys_invocation" in names
    assert "restate.gone" not in names


async def test_a_schema_restate_of_somebody_else_is_left_alone(empty_dsn: str) -> None:
    await execute(empty_dsn, "create schema restate; create view restate.theirs as select 1 as one")

    with pytest.raises(StoreError, match="The schema restate is somebody else's"):
        await migrate.upgrade(empty_dsn)

    assert await fetch(empty_dsn, "select one from restate.theirs") == [(1,)]
    assert await migrate.current(empty_dsn) is None


async def test_a_downgrade_takes_the_schema_restate_away_unless_it_holds_more_than_views(
    dsn: str,
) -> None:
    await execute(dsn, "create table restate.mine (id int)")
    with pytest.raises(StoreError, match="cannot drop schema restate"):
        await migrate.downgrade(dsn, "0002")

    await execute(dsn, "drop table restate.mine")
    await migrate.downgrade(dsn, "0002")

    assert await fetch(dsn, "select to_regnamespace('restate')") == [(None,)]
    await migrate.upgrade(dsn)
    assert await migrate.is_current(dsn)


async def test_a_failed_migration_leaves_nothing_behind(empty_dsn: str) -> None:
    await execute(empty_dsn, "create schema howdah_core; create table howdah_core.live (a int)")

    with pytest.raises(StoreError, match="already exists"):
        await migrate.upgrade(empty_dsn)

    assert await migrate.current(empty_dsn) is None
    assert len(await fetch(empty_dsn, CATALOG)) == 1


async def test_a_migration_waits_for_a_lock_in_small_portions(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_TRIES", 1)
    holder = await asyncpg.connect(dsn)
    try:
        await holder.execute("begin; lock table howdah_core.live")

        with pytest.raises(StoreError, match="could not lock"):
            await migrate.downgrade(dsn)

        await holder.execute("commit")
    finally:
        await holder.close()
    await migrate.downgrade(dsn)
    assert await migrate.current(dsn) is None


async def test_alembics_own_command_line_runs_the_same_code(empty_dsn: str) -> None:
    def alembic(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"HOWDAH_DATABASE_URL": empty_dsn},
        ).stdout

    alembic("upgrade", "head")
    assert await migrate.is_current(empty_dsn)
    assert migrate.head() in alembic("current")

    alembic("downgrade", "base")
    assert await migrate.current(empty_dsn) is None


async def test_a_database_of_a_newer_release_is_left_alone(dsn: str) -> None:
    await execute(
        dsn,
        """
        update howdah_core.alembic_version set version_num = '9999';
        comment on schema howdah_core is 'howdah schema 9999 of a later release';
        """,
    )
    before = await fetch(dsn, CATALOG)

    with pytest.raises(StoreError, match="newer howdah"):
        await migrate.upgrade(dsn)

    assert await fetch(dsn, CATALOG) == before


async def test_an_old_server_is_refused_by_name(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_SERVER_MAJOR_MIN", 99)

    with pytest.raises(StoreError, match=r"is Postgres \d\d, but howdah needs 99"):
        await migrate.upgrade(dsn)


async def test_a_server_that_may_lose_commits_is_used_only_on_request(dsn: str) -> None:
    assert await fetch(dsn, "show fsync") == [("off",)]

    with pytest.raises(StoreError, match="fsync and full_page_writes is off"):
        await migrate.check_server(dsn)
    await migrate.check_server(dsn, allow_unsafe=True)


async def test_a_database_that_is_away_is_said_to_be_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await migrate.upgrade(f"postgresql://howdah@/howdah?host={tmp_path}")


async def test_what_is_not_a_url_is_refused() -> None:
    with pytest.raises(InvalidOption, match="postgresql://"):
        await migrate.upgrade("host=localhost dbname=howdah")


async def test_postgres_as_scheme_works(dsn: str) -> None:
    assert await migrate.is_current(dsn.replace("postgresql://", "postgres://"))


def test_sql_files_come_in_the_order_of_their_names() -> None:
    names = [name for name, _ in sql_files("functions")]

    assert names == sorted(names)
    assert names


def test_the_folder_alembic_does_not_shadow_the_library() -> None:
    assert not (alembic_dir() / "__init__.py").exists()
