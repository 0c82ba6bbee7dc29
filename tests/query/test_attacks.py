"""Queries that try to do more than read: refused or bounded, and nothing is changed by any."""

import time
from typing import Any

import httpx
import pytest

from support.servers import HowdahProcess

JSON = {"accept": "application/json"}

# What the server would show of effects: settings, objects, roles, locks, large objects.
STATE_OF_SERVER = """
select (select md5(string_agg(name || '=' || coalesce(setting, ''), ',' order by name))
          from pg_settings where name not in ('transaction_read_only', 'transaction_isolation')),
       (select md5(string_agg(setdatabase || ':' || setrole || ':' || setconfig::text, ',' order by 1))
          from (select setdatabase, setrole, setconfig from pg_db_role_setting
                 order by 1, 2) s),
       (select count(*) from pg_class), (select count(*) from pg_proc), (select count(*) from pg_roles),
       (select count(*) from pg_largeobject_metadata), (select count(*) from pg_extension),
       (select count(*) from pg_namespace where nspname not like 'pg_%temp%'),
       (select count(*) from pg_locks where locktype = 'advisory' and classid not in (1, 2)),
       (select count(*) from pg_prepared_xacts), (select count(*) from pg_cursors),
       (select count(*) from howdah_core.state), (select count(*) from howdah_core.nudge),
       (select array_agg(alive order by worker) from (
          select worker, status = 'alive' as alive from howdah.workers) w)
"""

ATTACKS = [
    # Other statements, and ways to smuggle one in.
    "select 1; drop schema howdah_core cascade",
    "select 1 -- \n; drop schema howdah_core cascade",
    "select 1 /* /* */ ; */ ; drop table x",
    "select '1'; truncate howdah_core.state; --'",
    "select 'a'';delete from howdah_core.state;--'",
    "select '\\'; delete from howdah_core.state; --'",
    "select E'\\'; delete from howdah_core.state; --'",
    "select U&'\\0027; delete from howdah_core.state; --'",
    "select $a$ $a$; delete from howdah_core.state",
    'select 1 as "x""; delete from howdah_core.state; --"',
    'select 1 as "x\\"; delete from howdah_core.state; --"',
    "select 1 as \"\u00e9\u0000\"",
    "select 1 where 1 = 1) ; delete from howdah_core.state; --",
    "select 1 from state) as q (c0); delete from howdah_core.state; --",
    "select 1) as q (c0), howdah_core.state --",
    "begin; set transaction read write; delete from howdah_core.state",
    "set session characteristics as transaction read write",
    "reset all", "discard all", "rollback", "commit", "abort", "end",
    "copy (select 1) to program 'touch /tmp/owned'",
    "copy state from '/etc/passwd'",
    "do $$ begin perform pg_sleep(100); end $$",
    "call howdah_core.commit_batch()",
    "prepare p as delete from howdah_core.state", "execute p", "deallocate all",
    "declare c cursor with hold for select 1", "fetch all from c", "listen x", "notify x",
    "lock table howdah_core.live", "vacuum full", "alter system set fsync = off", "checkpoint",
    "load '/tmp/x.so'", "create extension dblink", "alter role postgres superuser",
    "explain analyze delete from howdah_core.state",
    "show all", "show config_file",
    # Writing inside of a select.
    "with x as (insert into howdah_core.state values (1, 'a', 'b', 'c') returning 1) select * from x",
    "with x as materialized (delete from state returning *) select 1",
    "select * into stolen from state",
    "select * from state for update", "select * from state for no key update skip locked",
    "select (delete from state)",
    # Tables that are not theirs.
    "select * from pg_authid", "select * from pg_catalog.pg_shadow", "select * from pg_stat_activity",
    "select * from howdah_core.live", "select * from howdah.invocations", "table pg_authid",
    "select * from restate.sys_invocation", 'select * from "pg_authid"',
    "select * from information_schema.tables union select * from information_schema.role_table_grants",
    "with state as (select * from pg_authid) select * from state",
    "select (select rolpassword from pg_authid limit 1)",
    "select * from only state", "select * from state*", "select * from rows from (now())",
    "select * from xmltable('/' passing '<a/>' columns a text)",
    "select * from json_table('{}', '$' columns (a text path '$'))",
    "select state from state", "select (state).key from state", "select (s.*)::text from state s",
    "select row(s.*) from state s", "select ctid from state", "select tableoid from state", "select xmin from state",
    "select id_uuid from sys_invocation", "select place from sys_invocation",
    # Functions with effects, or that tell.
    *[
        f"select {call}"
        for call in (
            "pg_sleep(100)", "pg_sleep_for('1 hour')", "pg_catalog.pg_sleep(100)", '"pg_sleep"(100)',
            "PG_SLEEP(100)", "set_config('work_mem', '1GB', false)",
            "pg_catalog.set_config('statement_timeout', '0', true)", "current_setting('data_directory')",
            "pg_read_file('/etc/passwd')", "pg_ls_dir('/')", "pg_stat_file('/')", "lo_import('/etc/passwd')",
            "lo_create(0)", "lo_from_bytea(0, 'x')", "pg_notify('x', 'y')", "pg_advisory_lock(1)",
            "pg_advisory_xact_lock(1, 1)", "pg_try_advisory_lock(1)", "pg_terminate_backend(1)",
            "pg_cancel_backend(1)", "pg_reload_conf()", "pg_rotate_logfile()", "pg_switch_wal()",
            "pg_export_snapshot()", "nextval('x')", "setval('x', 1)", "txid_current()", "pg_current_xact_id()",
            "query_to_xml('delete from howdah_core.state', true, true, '')", "database_to_xml(true, true, '')",
            "dblink('', 'select 1')", "version()", "current_user", "session_user", "inet_server_addr()",
            "pg_backend_pid()", "current_database()", "current_schema()", "user", "current_role",
            "pg_get_viewdef('restate.state')", "has_table_privilege('x', 'y')", "to_regclass('pg_authid')",
            "howdah.cancel('x')", "howdah.purge(null)", "howdah_core.meter(0, 0)", "meter(0, 0)",
            "howdah_core.first(1)", "joined('', 'x')", "clock_timestamp()", "random()", "setseed(1)", "gen_random_uuid()",
            "'pg_authid'::regclass", "cast('postgres' as regrole)", "'x'::howdah_core.live", "1::oid",
            "''::xml", "'{}'::jsonb", "'(1,1)'::point", "null::state",
        )
    ],
    # Operators that are none here.
    "select 1 @ 2", "select 1 operator(pg_catalog.+) 2", "select '{}' -> 'a'", "select 2 ^ 100", "select |/ 4",
    "select 'a' collate \"C\"", "select now() at time zone 'UTC'", "select array[1]", "select '{1}'::int[]",
    "select 'a' similar to 'b'", "select (1, 2)", "select row(1)", "select 1 from state where current of c",
    "select count(*) within group (order by 1)", "select grouping(1)", "select xmlelement(name a)",
    "select json_object('a': 1)", "select overlay('a' placing 'b' from 1)", "select treat(1 as int)",
    "select * from state fetch first 1 rows only", "select 1 limit (select 1)", "select 1 limit 1 + 1",
    "select 1 offset -1", "select 1 limit 99999999999999999999", "select 1 group by grouping sets ((), ())",
    "select 1 group by rollup (1)", "select sum(1) over w window w as ()", "select 1 window w as ()",
]  # fmt: skip

# Allowed, but they would fill memory, disk or time.
BOMBS = [
    "select count(*) from (select 1 from sys_invocation where "
    + " or ".join(["suspended_waiting_future_json = 'x'"] * 450) + ")",
    "select s from (select 'a' s union all select key from state union all select 'b') where "
    + " or ".join(["s = 'y' || s"] * 7_000),
    "with a as (select '" + "x" * 60_000 + "' s), " + ", ".join(
        f"{chr(b + 98)} as (select s || s || s || s s from {chr(b + 97)})" for b in range(10)
    ) + " select length(s) from k",
    "select concat(" + ", ".join(["'" + "x" * 50_000 + "'"] * 4) + ", concat(" + ", ".join(
        ["'" + "y" * 5_000 + "'"] * 20) + ", '" + "z" * 20_000 + "')" * 1 + ", '" + "w" * 9 + "'" + ")",
    "select replace('" + "a" * 50_000 + "', 'a', '" + "b" * 50_000 + "')",
    "select length(replace(replace('" + "a" * 5_000 + "', 'a', 'bbbbbbbbbb'), 'b', '" + "c" * 1_000 + "'))",
    "select count(*) from information_schema.columns a, information_schema.columns b,"
    " information_schema.columns c, information_schema.columns d, information_schema.columns e",
    "select a.column_name from information_schema.columns a, information_schema.columns b,"
    " information_schema.columns c, information_schema.columns d order by b.column_name, c.data_type",
    "select distinct a.column_name, b.column_name, c.column_name, d.column_name"
    " from information_schema.columns a, information_schema.columns b, information_schema.columns c,"
    " information_schema.columns d",
    "with a as (select x.column_name n from information_schema.columns x, information_schema.columns y),"
    " b as (select p.n from a p, a q), c as (select p.n from b p, b q) select count(*) from c p, c q",
    "select row_number() over (order by a.column_name, b.column_name, c.column_name)"
    " from information_schema.columns a, information_schema.columns b, information_schema.columns c",
    "select count(*) from information_schema.columns a, information_schema.columns b"
    " where (a.column_name || b.column_name) ~ '^(([a-z_])+.)+[A-Z]([a-z_])+$'",
    "select '" + "a" * 5000 + "' ~ '^(a?){200}(a){200}$'",
    "select 'x' ~ '((((((x{1,60}){1,60}){1,60}){1,60}){1,60}){1,60})'",
    "select 'x' like '" + "%_" * 5000 + "x'",
    "select " + " * ".join(["9" * 40] * 150),
    "select 9223372036854775807 + 1",
    "select cast('1e400' as double)",
    "select * from sys_invocation a " + " ".join(
        f"left join sys_invocation b{n} on a.id = b{n}.id" for n in range(12)),
    "select count(distinct a.column_name || b.column_name || c.column_name) from information_schema.columns a,"
    " information_schema.columns b, information_schema.columns c",
    "select first_value(a.column_name order by b.column_name) from information_schema.columns a,"
    " information_schema.columns b, information_schema.columns c",
    "select " + ", ".join(f"(select count(*) from information_schema.columns) c{n}" for n in range(200)),
]  # fmt: skip
# What one may take in all: connecting, ten seconds, telling the server to stop; on a busy machine.
BOMB_SECONDS_MAX = 35


@pytest.fixture(scope="module", autouse=True)
def filled(server: HowdahProcess) -> None:
    """One completed call of an object."""
    with httpx.Client(base_url=server.ingress, timeout=20, trust_env=False) as http:
        assert http.post("/Counter/k/add", json=3).status_code == 200


@pytest.mark.parametrize("query", ATTACKS, ids=[query[:60] for query in ATTACKS])
async def test_what_is_more_than_reading_is_refused(
    server: HowdahProcess, db_of: Any, query: str
) -> None:
    before = await db_of.fetchrow(STATE_OF_SERVER)

    async with httpx.AsyncClient(base_url=server.admin, timeout=60, trust_env=False) as client:
        answer = await client.post("/query", json={"query": query}, headers=JSON)

    assert answer.json().keys() != {"rows"} or harmless(query), answer.text[:500]
    assert answer.status_code in (200, 400, 500)
    assert await db_of.fetchrow(STATE_OF_SERVER) == before


def harmless(query: str) -> bool:
    """Whether what looks like an attack is a text or a name that stays one."""
    return "delete" in query and query.startswith(("select 'a''", 'select 1 as "x'))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "query", BOMBS, ids=[f"{n}: {query[:40]}" for n, query in enumerate(BOMBS)]
)
async def test_what_would_take_too_much_is_bounded(
    server: HowdahProcess, db_of: Any, query: str
) -> None:
    before = await db_of.fetchrow(STATE_OF_SERVER)
    began = time.monotonic()

    async with httpx.AsyncClient(base_url=server.admin, timeout=60, trust_env=False) as client:
        try:
            answer = await client.post("/query", json={"query": query}, headers=JSON)
            assert answer.status_code in (200, 400, 500)
            assert len(answer.content) < 64 * 1024 * 1024
        except httpx.RemoteProtocolError:
            pass  # the answer broke off: more rows or bytes than a query may return
        assert (await client.get("/health")).status_code == 200

    assert time.monotonic() - began < BOMB_SECONDS_MAX
    assert await db_of.fetchrow(STATE_OF_SERVER) == before
    running = """
      select count(*) from pg_stat_activity
       where datname = current_database() and application_name = 'howdah query'"""
    while await db_of.fetchval(running):
        assert time.monotonic() - began < BOMB_SECONDS_MAX
