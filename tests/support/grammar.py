"""What Postgres's own grammar says of a translated query: what it is, reads and calls.

Independent of the translation: whatever a query was, its translation is one SELECT over the views
of the schema restate that calls functions which are known here.
"""

import json
from typing import Any

from pglast import parser

from howdah_api.query.catalog import TABLES
from howdah_api.query.tokens import words_of

FUNCTIONS = words_of(
    "abs avg bool_and bool_or btrim cardinality ceil count cume_dist date_bin date_part date_trunc"
    " dense_rank encode convert_to first_value floor lag last_value lead left length lower ltrim max"
    " md5 min now ntile octet_length percent_rank percentile_cont rank reverse right round row_number"
    " rtrim starts_with stddev strpos substr sum to_timestamp upper"
)
OURS = frozenset({"concatenated", "first", "joined", "last", "replaced"})
TYPES = words_of("text int4 int2 int8 float8 bool timestamptz date interval numeric uuid")
NODES = words_of(
    "SelectStmt ResTarget ColumnRef A_Star String Integer Float Boolean A_Const TypeCast TypeName"
    " A_Expr BoolExpr NullTest BooleanTest FuncCall WindowDef SortBy JoinExpr RangeVar RangeSubselect"
    " Alias WithClause CommonTableExpr SubLink CaseExpr CaseWhen CoalesceExpr MinMaxExpr List"
    " A_ArrayExpr A_Indirection A_Indices"
)


def check(sql: str) -> None:
    """Fail if a translation is more than it may be."""
    statements = json.loads(parser.parse_sql_json(sql))["stmts"]
    assert len(statements) == 1, sql
    (kind,) = statements[0]["stmt"]
    assert kind == "SelectStmt", sql
    _look(statements[0]["stmt"], frozenset())


def _look(node: Any, named: frozenset[str]) -> None:
    if isinstance(node, list):
        for one in node:
            _look(one, named)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name[0].isupper():
                assert name in NODES, f"{name} in {value}"
                named = _look_at(name, value, named)
            _look(value, named)


def _look_at(name: str, value: Any, named: frozenset[str]) -> frozenset[str]:
    if name == "SelectStmt":
        assert not {"intoClause", "lockingClause"} & value.keys()
        common = value.get("withClause", {})
        assert not common.get("recursive")
        return named | {one["CommonTableExpr"]["ctename"] for one in common.get("ctes", ())}
    if name == "RangeVar":
        if "schemaname" in value:
            assert (value["schemaname"], value["relname"] in TABLES) == ("restate", True)
        else:
            assert value["relname"] in named
    elif name == "RangeSubselect":
        assert not value.get("lateral")
    elif name == "FuncCall":
        schema, function = (part["String"]["sval"] for part in value["funcname"])
        assert function in (FUNCTIONS if schema == "pg_catalog" else OURS), function
        assert schema in ("pg_catalog", "howdah_core")
    elif name in ("TypeCast", "TypeName"):
        names = value["typeName"]["names"] if name == "TypeCast" else value["names"]
        assert names[-1]["String"]["sval"] in TYPES, names
    return named
