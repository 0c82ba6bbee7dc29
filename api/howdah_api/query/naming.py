"""What a result is called that has no name: its expression, as DataFusion writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from howdah_api.query.operators import no_
from howdah_api.query.scopes import Scope
from howdah_api.query.tree import (
    Binary,
    Call,
    Cast,
    Chain,
    Expression,
    Is,
    Literal,
    Name,
    Sort,
    Unary,
)


def shown_as(node: Expression, scope: Scope, *, is_output: bool = False) -> str:
    """What a result without a name is called."""

    def shown(inner: Expression) -> str:
        return shown_as(inner, scope)

    match node:
        case Name(parts):
            if is_output:
                return parts[-1]
            if len(parts) == 1:
                for relation in scope.relations:
                    if any(column.name == parts[0] for column in relation.columns):
                        return f"{relation.name or 'q'}.{parts[0]}"
            return ".".join(parts)
        case Literal("string", text):
            return f'Utf8("{text}")'
        case Literal("number", text):
            return f"{'Int64' if text.isdecimal() else 'Float64'}({text})"
        case Literal("boolean", text):
            return f"Boolean({text})"
        case Literal():
            return "NULL"
        case Unary("not", operand):
            return f"NOT {shown(operand)}"
        case Unary(op, operand):
            return f"({op} {shown(operand)})"
        case Binary(op, left, right):
            return f"{shown(left)} {op.replace('<>', '!=').upper()} {shown(right)}"
        case Chain(op, operands):
            return f" {op.upper()} ".join(map(shown, operands))
        case Is(operand, what, negated):
            return f"{shown(operand)} IS {no_(negated).upper()}{what.upper()}"
        case Cast(operand):
            return shown(operand)
        case Call():
            return _shown_call(node, shown)
        case _:
            return type(node).__name__.lower()


def _shown_call(node: Call, shown: Callable[[Expression], str]) -> str:
    inside = "*" if node.star else ",".join(map(shown, node.arguments))
    distinct = "DISTINCT " if node.distinct else ""
    order = _shown_order(node.order, shown)
    name = f"{node.name}({distinct}{inside}{f' {order}' if order else ''})"
    if node.where is not None:
        name += f" FILTER (WHERE {shown(node.where)})"
    if node.over is not None:
        if node.over.partition:
            name += f" PARTITION BY [{', '.join(map(shown, node.over.partition))}]"
        if node.over.order:
            name += f" {_shown_order(node.over.order, shown)}"
        until = "CURRENT ROW" if node.over.order else "UNBOUNDED FOLLOWING"
        kind = "RANGE" if node.over.order else "ROWS"
        name += f" {kind} BETWEEN UNBOUNDED PRECEDING AND {until}"
    return name


def _shown_order(order: Sequence[Sort], shown: Callable[[Expression], str]) -> str:
    if not order:
        return ""
    keys = (
        f"{shown(sort.key)} {'DESC NULLS FIRST' if sort.descending else 'ASC NULLS LAST'}"
        for sort in order
    )
    return f"ORDER BY [{', '.join(keys)}]"
