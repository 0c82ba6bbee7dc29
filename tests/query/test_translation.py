"""What queries become, and which of them are refused."""

from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from howdah.ids import restate_id
from howdah_api.query.failures import QueryRefused
from howdah_api.query.tokens import words_of
from howdah_api.query.translate import Translated, translate
from support import grammar

ID = "0192f0c1-2b3c-7d4e-8f50-617283940a1b"
V = 'restate."sys_invocation" as "v.1"'


def names(query: str) -> list[str]:
    return [column.name for column in translate(query).columns]


def kinds(query: str) -> list[str | None]:
    return [column.kind for column in translate(query).columns]


def where(condition: str) -> str:
    """What a condition on sys_invocation becomes."""
    sql = translate(f"select v.id from sys_invocation v where {condition}").sql
    return sql.removeprefix(f'select "v.1"."id" as "id" from {V} where ').replace('"v.1".', "")


@pytest.mark.parametrize(
    ("condition", "becomes"),
    [
        ("target == 'a'", "(\"target\" = 'a')"),
        ("target=='a==b' -- ==\n", "(\"target\" = 'a==b')"),
        ("target != /* != /* == */ */ 'a'", "(\"target\" <> 'a')"),
        ('"target" == \'it\'\'s\'', "(\"target\" = 'it''s')"),
        ("retry_count==-1", '("retry_count" = (- 1))'),
        ("TARGET = 'a' and not in_flight", "((\"target\" = 'a') and (not \"in_flight\"))"),
        ("target = '\\' or 1=1", "((\"target\" = E'\\\\') or (1 = 1))"),
        ("status = 'running'", "(\"place\" = 'running')"),
        ("status != 'completed'", "(\"place\" <> 'completed')"),
        ("status in ('pending', 'backing-off')", "(\"place\" in ('inbox', 'held', 'backing_off'))"),
        ("status = 'nonsense'", "false"),
        ("status not in ('nonsense')", "true"),
        (f"id = '{ID}'", f"(\"id_uuid\" = '{ID}'::uuid)"),
        (f"'{ID}' = id", f"(\"id_uuid\" = '{ID}'::uuid)"),
        (f"id = '{restate_id(UUID(ID))}'", f"(\"id_uuid\" = '{ID}'::uuid)"),
        (f"id in ('{ID}', 'inv_1x')", f"(\"id_uuid\" in ('{ID}'::uuid))"),
        ("id = 'inv_1x'", "false"),
        ("id not in ('inv_1x')", "true"),
        (f"id = '{ID.upper()}'", "false"),
        (f"invoked_by_id = '{ID}'", f"(\"invoked_by_uuid\" = '{ID}'::uuid)"),
        ("invoked_by_id = 'x'", "(\"invoked_by_id\" = 'x')"),
        ("id = invoked_by_id", '("id_uuid" = "invoked_by_uuid")'),
        ("id > 'a'", "(\"id\" > 'a')"),
        (
            "target like 'S/%'",
            "(((\"target\")::text like ('S/%')::text) and \"target_service_name\" = 'S')",
        ),
        (f"target like '{ID}/%'", f"(\"id_uuid\" = '{ID}'::uuid)"),
        (f"target not like '{ID}/%'", f"((\"target\")::text not like ('{ID}/%')::text)"),
        ("target like '%/h'", "((\"target\")::text like ('%/h')::text)"),
        ("target like 'S_/h'", "((\"target\")::text like ('S_/h')::text)"),
        ("target not like 'S/%'", "((\"target\")::text not like ('S/%')::text)"),
        ("created_at > now() - interval '1 hour'",
         "(\"created_at\" > (pg_catalog.now() - ('1 hour')::interval))"),
        ("created_at between '2026-01-01' and current_timestamp",
         "(\"created_at\" between '2026-01-01' and pg_catalog.now())"),
        ("retry_count * 2 + 1 > 3", '((("retry_count" * 2) + 1) > 3)'),
        ("1 + 2 * 3 = 7 or true", "(((1 + (2 * 3)) = 7) or true)"),
        ("target || 'x' is not null",
         "(howdah_core.concatenated((\"target\")::text, ('x')::text) is not null)"),
        ("array_has(suspended_waiting_for_signals, 1)",
         '((1) = any ("suspended_waiting_for_signals"))'),
        ("1 = any(suspended_waiting_for_signals)",
         '((1) = any ("suspended_waiting_for_signals"))'),
    ],
)  # fmt: skip
def test_conditions(condition: str, becomes: str) -> None:
    assert where(condition) == becomes


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select count(*) from state", ["count(*)"]),
        ("select count(1) from state", ["count(Int64(1))"]),
        ("select COUNT(id) from sys_inbox", ["count(sys_inbox.id)"]),
        ("select max(s.key) m, min(key) from state s", ["m", "min(s.key)"]),
        ('select key as "Key", value "V" from state', ["Key", "V"]),
        ("select * from sys_keyed_service_status",
         ["partition_key", "service_name", "service_key", "invocation_id"]),
        ("select s.key, i.* from state s, sys_locks i",
         ["key", "partition_key", "scope", "lock_name", "acquired_at", "acquired_by"]),
        ("select * exclude (partition_key, scope) from sys_locks",
         ["lock_name", "acquired_at", "acquired_by"]),
        ("with a as (select id, status as s from sys_invocation) select *, count(*) over () n from a",
         ["id", "s", "n"]),
        ("select id is not null from sys_inbox", ["sys_inbox.id IS NOT NULL"]),
        ("select 1, 'a', null", ["Int64(1)", 'Utf8("a")', "NULL"]),
        ("select a.id from sys_inbox a join sys_invocation b using (id)", ["id"]),
        ("show tables", ["table_catalog", "table_schema", "table_name", "table_type"]),
        ("describe state", ["column_name", "is_nullable", "data_type"]),
    ],
)  # fmt: skip
def test_names_of_columns(query: str, expected: list[str]) -> None:
    assert names(query) == expected
    grammar.check(translate(query).sql)


def test_kinds_of_columns() -> None:
    assert kinds("select count(*), sum(retry_count), avg(retry_count) from sys_invocation") == [
        "i64",
        "u64",
        "f64",
    ]
    query = (
        "with a as (select * from sys_journal) select index, raw, appended_at, version + 1 from a"
    )
    assert kinds(query) == ["u32", "binary", "ts", "i64"]
    times = (
        "select created_at - modified_at, created_at - interval '1 hour', now() + interval '1 s'"
    )
    assert kinds(f"{times} from sys_invocation") == ["duration", "ts", "ts"]
    assert kinds("select first_value(id order by created_at), max(created_at) from sys_inbox") == [
        "utf8",
        "ts",
    ]
    assert kinds("select arrow_cast(1, 'UInt64'), cast(null as string), 1::double") == [
        "u64",
        "utf8",
        "f64",
    ]


def test_a_querys_columns_have_no_columns_beside_them() -> None:
    sql = translate(f"select * from (select id from sys_inbox) where id = '{ID}'").sql

    assert "id_uuid" not in sql.partition("where")[2]


def test_information_about_tables_is_of_ours_only() -> None:
    sql = translate("select table_name from information_schema.columns").sql

    assert "'sys_invocation'" in sql
    assert "pg_" not in sql


REFUSED = [
    (400, "", "SQL error"),
    (400, "selec 1", "SQL error"),
    (400, "select", "SQL error"),
    (400, "select 1 from", "SQL error"),
    (400, "select 'x", "SQL error"),
    (400, 'select "x', "SQL error"),
    (400, "select 1 /* x", "SQL error"),
    (400, "select $1", "SQL error"),
    (400, "select $$x$$", "SQL error"),
    (400, "select `x` from state", "SQL error"),
    (400, "select 1e", "SQL error"),
    (400, "select 1_000", "SQL error"),
    (400, "select " + "9" * 41, "SQL error"),
    (400, "select a\0b", "SQL error"),
    (400, "select 1; select 2", "This feature is not implemented: The context currently only"),
    (400, "insert into state values (1)", "Error during planning: DML not supported: Insert"),
    (400, "update state set key = 1", "Error during planning: DML not supported: Update"),
    (400, "delete from state", "Error during planning: DML not supported: Delete"),
    (400, "with a as (delete from state returning 1) select * from a", "Error during planning: DML"),
    (400, "drop table state", "Error during planning: DDL not supported: Drop"),
    (400, "create table x as select 1", "Error during planning: DDL not supported: Create"),
    (400, "select 1 into x", "Error during planning: DDL not supported"),
    (400, "copy state to program 'x'", "Error during planning: Statement not supported: Copy"),
    (400, "do $$begin end$$", ""),
    (400, "set work_mem = '1GB'", "Error during planning: Statement not supported: Set"),
    (400, "explain select 1", "Error during planning: Statement not supported: Explain"),
    (400, "show all", "Error during planning: Statement not supported: Show"),
    (400, "with recursive a as (select 1) select * from a", "This feature is not implemented"),
    (400, "select * from state for update", "SQL error"),
    (400, "select * from state tablesample system (1)", "SQL error"),
    (400, "select * from generate_series(1, 9)", "This feature is not implemented: table function"),
    (400, "select * from state, lateral (select 1) x", "This feature is not implemented: LATERAL"),
    (400, "values (1)", "Error during planning: Statement not supported"),
    (400, "select nothing from state", "Schema error: No field named nothing. Valid fields are state."),
    (400, "select state.x.y.key from state", "Schema error: No field named"),
    (400, "select id from sys_inbox a join sys_invocation b on a.id = b.id", "Error during planning: Schema error: Ambiguous"),
    (400, "select * from state s join state s on true", "Error during planning: table name"),
    (400, "select a.* from state", "Error during planning: Invalid qualifier"),
    (400, "select *", "Error during planning"),
    (400, "select count(*) from state order by 2", "Error during planning: Cannot find column"),
    (400, "select lower()", "Error during planning: Function 'lower' expects 1 arguments"),
    (400, "select lower(1, 2)", "Error during planning: Function 'lower' expects 1 arguments"),
    (400, "select rank()", "Error during planning: Function 'rank' needs OVER"),
    (400, "select 'pg_class'::regclass", "This feature is not implemented: Unsupported SQL type"),
    (400, "select cast('x' as restate.state)", "SQL error"),
    (400, "select extract(julian from now())", "Error during planning: Date part"),
    (400, "select key from state union select key, value from state", "Error during planning: UNION"),
    (500, "select * from nothing", "Error during planning: table 'restate.public.nothing' not found"),
    (500, "select * from pg_catalog.pg_class", "Error during planning: table 'restate.public.pg_catalog.pg_class'"),
    (500, "select * from howdah.invocations", "Error during planning: table"),
    (500, "select * from howdah_core.state", "Error during planning: table"),
    (500, "select * from restate.state", "Error during planning: table"),
    (500, "select * from information_schema.role_table_grants", "Error during planning: table"),
    (500, 'select * from "STATE"', "Error during planning: table"),
    (500, 'select * from "restate.public.state"', "Error during planning: table"),
    (500, "describe pg_class", "Error during planning: table"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "query", "message"), REFUSED, ids=[q[1][:60] for q in REFUSED])
def test_what_is_refused(status: int, query: str, message: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        translate(query)

    assert refused.value.status == status
    assert refused.value.message.startswith(message)


def doubled(expression: str, levels: int) -> str:
    """A query that names the column of the query in it more than once, level by level."""
    query = "select status s from sys_invocation"
    for _ in range(levels):
        query = f"select {expression} s from ({query})"
    return query


@pytest.mark.parametrize(
    "query",
    [
        "select " + "(" * 200 + "1" + ")" * 200,
        "select " + "(" * 100_000,
        "select " + "not " * 500 + "true",
        "select " + "- " * 500 + "1",
        "select " + "+".join(["1"] * 5000),
        "select 1" + "::int" * 5000,
        "select 1 = " + "case when " * 300,
        "select * from " + "(select * from " * 100 + "state",
        "select * from state" + ", state" * 100,
        "select * from " + "(" * 5000,
        "select " + " union ".join(["select 1"] * 1000),
        "select " + "*, " * 30 + "* from sys_invocation",
        "select " + ", ".join(["1"] * 2000),
        "select " + "x" * 300_000,
        "select 1 as " + "x" * 300,
        doubled("s + s", 30),
        doubled("s || s || s", 12),
        doubled("lower(s) s2, upper(s)", 30).replace("s2", "x"),
        doubled("case when s > s then s else s end", 15),
        doubled("(select s where s = s)", 15),
        "select 1 from sys_invocation where " + " or ".join(["journal_size > 1"] * 1000),
        "select key k from state having " + " or ".join(["k = k"] * 40_000),
        "select /*" + "/*" * 100_000,
    ],
)
def test_what_is_too_much_is_refused(query: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        translate(query)

    assert refused.value.status == 400


def test_a_text_is_written_once_however_deeply_it_is_nested() -> None:
    for call in ("ends_with({}, 'x')", "contains({}, 'x')", "concat({}, 'x')", "({} || 'x')"):
        query = "key"
        for _ in range(15):
            query = call.format(query)

        assert translate(f"select {query} from state").sql.count('"key"') == 1


def test_long_lists_are_no_problem() -> None:
    ids = ", ".join(f"'{ID[:-4]}{n:04x}'" for n in range(1000))
    conditions = " or ".join(f"key = 'k{n}'" for n in range(2000))

    grammar.check(translate(f"select id from sys_invocation where id in ({ids})").sql)
    grammar.check(translate(f"select key from state where {conditions}").sql)


WORDS = st.sampled_from(
    sorted(
        words_of(
            "select from where and or not in is null like between case when then else end as with group by"
            " having order limit offset union all join left on using distinct over partition filter exists cast"
            " count first_value sum lower concat coalesce now state sys_invocation sys_journal information_schema"
            " columns id key value status target created_at retry_count pg_sleep set_config pg_read_file current_user"
            " version lo_import dblink pg_class howdah_core restate public delete insert update into do copy"
            " any array interval date timestamp extract epoch text int regclass uuid * ( ) ( ) , , . = == <> || ::"
            " + - / % [ ] ~ 1 2.5 'x' '1 hour' \"q\" 'a''b' '\\' -- /* */ ; $1 $$ E'x' U&'x' @ ^ ? : :="
        )
    )
)
SKELETONS = st.sampled_from(
    [
        "select {} from state",
        "select * from state where {}",
        "select count(*) from sys_invocation where {} group by {} order by {}",
        "with a as (select {} from sys_journal) select * from a where {}",
        "select case when {} then {} else {} end from sys_inbox",
        "select {} over (partition by {} order by {}) from state",
        "{}",
        "select lower({}), {} from sys_invocation a join sys_journal b on {}",
    ]
)


@given(SKELETONS, st.lists(st.lists(WORDS, max_size=8), min_size=3, max_size=3), st.randoms())
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_accepted_is_a_select_of_what_is_allowed(
    skeleton: str, words: list[list[str]], random: object
) -> None:
    query = skeleton
    for some in words:
        query = query.replace("{}", " ".join(some), 1)

    translated = translated_or_none(query)

    if translated is not None:
        grammar.check(translated.sql)


@given(
    st.text(max_size=60),
    st.sampled_from(["select '{}'", 'select 1 as "{}"', "select {} from state", "{}"]),
)
@settings(max_examples=1000, deadline=None)
def test_whatever_text_is_sent_is_refused_or_quoted(text: str, skeleton: str) -> None:
    translated = translated_or_none(skeleton.replace("{}", text))

    if translated is not None:
        grammar.check(translated.sql)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=500, deadline=None)
def test_a_text_stays_what_it_is(text: str) -> None:
    quoted = text.replace("'", "''")

    (column,) = translate(f"select '{quoted}'").columns

    assert column.kind == "utf8"
    assert column.name == f'Utf8("{text}")'


def translated_or_none(query: str) -> Translated | None:
    try:
        return translate(query)
    except QueryRefused:
        return None
