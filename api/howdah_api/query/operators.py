"""Operators, and comparisons that are written for the columns that have an index.

Ids are texts in the tables, and statuses are words of Restate's, while indexes have uuids and
howdah's own words. A comparison with a constant is written for the column with the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from howdah.errors import InvalidId
from howdah.ids import parse_id, restate_id
from howdah_api.query.catalog import (
    BOOLEAN,
    DURATION,
    F64,
    I64,
    LIST_U32,
    LIST_UTF8,
    TIMESTAMP,
    U32,
    U64,
    UTF8,
)
from howdah_api.query.failures import unplanned
from howdah_api.query.functions import Sql, concatenated, literal, quoted
from howdah_api.query.tree import Like, Literal


def no_(negated: bool) -> str:
    """`not ` or nothing, for the operators that take it."""
    return "not " if negated else ""


def constant_of(node: Literal) -> Sql:
    """A constant."""
    if node.kind == "string":
        return Sql(literal(node.text), UTF8, constant=node.text)
    if node.kind == "number":
        return Sql(node.text, I64 if node.text.isdecimal() else F64)
    return Sql(node.text, BOOLEAN if node.kind == "boolean" else None)


_ARITHMETIC: Final = frozenset("+-*/%")
_WHOLE: Final = (U32, U64, I64)


def binary(op: str, left: Sql, right: Sql) -> Sql:
    """`left op right`."""
    if op == "||":
        return concatenated(left, right)
    if op in _ARITHMETIC:
        return Sql(f"({left.text} {op} {right.text})", _arithmetic_kind(op, left.kind, right.kind))
    if op in ("=", "<>"):
        written = _by_index(op, left, right) or _by_index(op, right, left)
        if written is not None:
            return written
    if op.lstrip("!").startswith("~"):
        return Sql(f"(({left.text})::text {op} ({right.text})::text)", BOOLEAN)
    return Sql(f"({left.text} {op} {right.text})", BOOLEAN)


def _arithmetic_kind(op: str, left: str | None, right: str | None) -> str | None:
    if left in _WHOLE and right in _WHOLE:
        return I64
    match left, op, right:
        case ("ts", "-", "ts") | ("duration", "+" | "-", "duration"):
            return DURATION
        case ("ts", "+" | "-", "duration") | ("duration", "+", "ts"):
            return TIMESTAMP
    return None


def _uuid(text: str) -> str | None:
    """The text as a constant, if it is an id: as the tables have it, or as it is printed elsewhere."""
    try:
        found = parse_id(text)
    except InvalidId:
        return None
    return f"'{found}'::uuid" if text in (restate_id(found), str(found)) else None


def _by_place(operand: Sql, constants: Sequence[str], *, negated: bool) -> Sql | None:
    """A comparison of a status with constants, written for the column that has an index."""
    if operand.column is None or operand.column.places is None:
        return None
    found = [place for word in constants for place in operand.column.places.get(word, ())]
    if not found:
        return Sql("true" if negated else "false", BOOLEAN)
    ours = f"{operand.relation}.{quoted('place')}"
    if len(found) == 1:
        return Sql(f"({ours} {'<>' if negated else '='} {literal(found[0])})", BOOLEAN)
    return Sql(f"({ours} {no_(negated)}in ({', '.join(map(literal, found))}))", BOOLEAN)


def _by_index(op: str, left: Sql, right: Sql) -> Sql | None:
    """A comparison of a column, written for the column beside it that has an index."""
    if right.constant is not None:
        place = _by_place(left, [right.constant], negated=op == "<>")
        if place is not None:
            return place
    return _by_uuid(op, left, right)


def _by_uuid(op: str, left: Sql, right: Sql) -> Sql | None:
    """A comparison of an id with a constant or another id, written for the columns of uuids."""
    if left.column is None or left.column.uuid is None:
        return None
    ours = f"{left.relation}.{quoted(left.column.uuid)}"
    if right.column is not None and right.column.uuid is not None:
        return Sql(f"({ours} {op} {right.relation}.{quoted(right.column.uuid)})", BOOLEAN)
    if right.constant is None:
        return None
    constant = _uuid(right.constant)
    if constant is not None:
        return Sql(f"({ours} {op} {constant})", BOOLEAN)
    if left.column.is_never_null:
        return Sql("false" if op == "=" else "true", BOOLEAN)
    return None


def among(operand: Sql, values: list[Sql], *, negated: bool) -> Sql:
    """`operand [not] in (values)`."""
    column = operand.column
    constants = [value.constant for value in values]
    if column is not None and column.uuid is not None and None not in constants:
        found = [_uuid(constant) for constant in constants if constant is not None]
        known = [constant for constant in found if constant is not None]
        if len(known) == len(values) or column.is_never_null:
            if not known:
                return Sql("true" if negated else "false", BOOLEAN)
            ours = f"{operand.relation}.{quoted(column.uuid)}"
            return Sql(f"({ours} {no_(negated)}in ({', '.join(known)}))", BOOLEAN)
    texts = [constant for constant in constants if constant is not None]
    if len(texts) == len(values):
        place = _by_place(operand, texts, negated=negated)
        if place is not None:
            return place
    listed = ", ".join(value.text for value in values)
    return Sql(f"({operand.text} {no_(negated)}in ({listed}))", BOOLEAN)


def like(node: Like, operand: Sql, pattern: Sql) -> Sql:
    """`operand [not] like pattern`."""
    escape = f" escape {literal(node.escape)}" if node.escape is not None else ""
    no = no_(node.negated)
    written = f"(({operand.text})::text {no}{node.op} ({pattern.text})::text{escape})"
    column = operand.column
    if column is not None and column.prefix and pattern.constant and not node.negated:
        # A target begins with the name of its service, which has an index. A UUID in that place is an
        # id: clients that know ids as inv_1… take anything else for a service.
        service, slash, rest = pattern.constant.partition("/")
        uuid = _uuid(service) if rest == "%" else None
        if node.op == "like" and slash and not set(service) & set("%_\\") and node.escape is None:
            beside = f"{operand.relation}.{quoted(column.prefix)}"
            written = f"({written} and {beside} = {literal(service)})"
            if uuid is not None:
                written = f"({operand.relation}.{quoted('id_uuid')} = {uuid})"
    return Sql(written, BOOLEAN)


def item_of(operand: Sql, index: Sql) -> Sql:
    """`operand[index]`."""
    if operand.kind not in (LIST_U32, LIST_UTF8):
        raise unplanned("only a column of lists has items")
    kind = U32 if operand.kind == LIST_U32 else UTF8
    return Sql(f"({operand.text})[({index.text})::int]", kind)
