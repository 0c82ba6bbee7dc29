"""Reads tokens into a tree. What stands here is all the SQL there is: everything else is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from howdah_api.query.failures import QueryRefused, unplanned, unreadable, unsupported
from howdah_api.query.tokens import Token, place, tokens_of, words_of
from howdah_api.query.tree import (
    AnyOf,
    Between,
    Binary,
    Call,
    Case,
    Cast,
    Chain,
    Combined,
    Derived,
    Expression,
    Extract,
    In,
    Is,
    Item,
    Join,
    Like,
    Literal,
    Name,
    Output,
    Query,
    Select,
    ShowColumns,
    ShowTables,
    Sort,
    Source,
    Star,
    Statement,
    Subquery,
    Table,
    Unary,
    Window,
)

T = TypeVar("T")

DEPTH_MAX: Final = 50
"""How deeply parentheses and queries may be nested."""
OPERATORS_MAX: Final = 200
"""How many operators may follow each other without parentheses, `and` and `or` excepted."""
SOURCES_MAX: Final = 16
"""How many tables a query may have in all: what is joined with everything is never done."""
COMBINED_MAX: Final = 16
"""How many `union`, `except` and `intersect` a query may have in all."""

_DML: Final = {"insert": "Insert", "update": "Update", "delete": "Delete", "merge": "Merge"}
_DDL: Final = words_of(
    "create drop alter truncate comment grant revoke reindex vacuum analyze cluster refresh security"
    " import"
)
_STATEMENTS: Final = words_of(
    "copy set reset begin start commit rollback savepoint release prepare execute deallocate declare"
    " fetch close move listen notify unlisten lock do call explain load discard checkpoint reassign"
    " values table"
)
# Words that begin the next part of a query: none of them is an alias without `as`.
_RESERVED: Final = words_of(
    "select from where group having order limit offset fetch for window union except intersect join"
    " inner left right full cross natural lateral on using as and or not in is like ilike between case"
    " when then else end distinct all with over filter within exists cast into tablesample any some"
    " null true false asc desc nulls escape similar collate at"
)
_NO_FUNCTION: Final = _RESERVED - {"left", "right"}
_COMPARISONS: Final = {
    "=": "=",
    "==": "=",
    "<>": "<>",
    "!=": "<>",
    "<": "<",
    ">": ">",
    "<=": "<=",
    ">=": ">=",
}
_OTHERS: Final = {"~": "~", "~*": "~*", "!~": "!~", "!~*": "!~*", "||": "||"}
_LEVELS: Final = {
    **dict.fromkeys(_COMPARISONS, 5),
    **dict.fromkeys(_OTHERS, 7),
    "+": 8, "-": 8, "*": 9, "/": 9, "%": 9, "::": 12, "[": 12,
}  # fmt: skip
_IS_LEVEL: Final = 4
_LIKE_LEVEL: Final = 6
_NOT_LEVEL: Final = 3
_UNARY_LEVEL: Final = 10
_TYPES_OF_TEXTS: Final = frozenset({"interval", "timestamp", "timestamptz", "date"})
_FRAME_WORDS: Final = words_of(
    "rows range groups between and unbounded preceding following current row"
)
_UNITS: Final = words_of(
    "year years month months week weeks day days hour hours minute minutes second seconds millisecond"
    " milliseconds"
)
INTEGER_MAX: Final = 2**63 - 1


def parse(text: str) -> Statement:
    """Read one statement.

    Raises:
        QueryRefused: 400, it is none, it is more than one, or it does more than read.
    """
    try:
        return _Parser(text).statement()
    except RecursionError:
        raise unreadable("the query is nested too deeply") from None


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens_of(text)
        self._at = 0
        self._depth = 0
        self._sources = 0
        self._combinations = 0

    # Tokens.

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _peek(self, ahead: int = 1) -> Token:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._next
        self._at += 1
        return token

    def _is(self, *words: str) -> bool:
        return all(
            token.kind == "word" and token.text == word
            for token, word in ((self._peek(i), word) for i, word in enumerate(words))
        )

    def _is_op(self, text: str) -> bool:
        return self._next.kind == "op" and self._next.text == text

    def _accept(self, *words: str) -> bool:
        if self._is(*words):
            self._at += len(words)
            return True
        return False

    def _accept_op(self, text: str) -> bool:
        if self._is_op(text):
            self._at += 1
            return True
        return False

    def _expect(self, *words: str) -> None:
        if not self._accept(*words):
            raise self._unexpected(" ".join(words).upper())

    def _expect_op(self, text: str) -> None:
        if not self._accept_op(text):
            raise self._unexpected(text)

    def _unexpected(self, expected: str) -> QueryRefused:
        token = self._next
        found = "EOF" if token.kind == "end" else token.text[:80]
        where = "" if token.kind == "end" else f" at {place(self._text, token.at)}"
        return unreadable(f"Expected: {expected}, found: {found}{where}")

    def _deeper(self, read: Callable[[], T]) -> T:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise unreadable(f"the query is nested more than {DEPTH_MAX} levels deep")
        result = read()
        self._depth -= 1
        return result

    def _list(self, read: Callable[[], T]) -> tuple[T, ...]:
        found = [read()]
        while self._accept_op(","):
            found.append(read())
        return tuple(found)

    def _identifier(self, what: str = "identifier") -> str:
        token = self._next
        if token.kind == "quoted" or (token.kind == "word" and token.text not in _RESERVED):
            self._at += 1
            return token.text
        raise self._unexpected(what)

    def _dotted(self) -> tuple[str, ...]:
        parts = [self._identifier()]
        while self._accept_op("."):
            parts.append(self._any_name())
        return tuple(parts)

    def _any_name(self) -> str:
        token = self._take()
        if token.kind not in ("word", "quoted"):
            self._at -= 1
            raise self._unexpected("identifier")
        return token.text

    def _integer(self) -> int:
        token = self._take()
        if token.kind != "number" or not token.text.isdecimal() or int(token.text) > INTEGER_MAX:
            self._at -= 1
            raise self._unexpected("a whole number")
        return int(token.text)

    # Statements.

    def statement(self) -> Statement:
        while self._accept_op(";"):
            pass
        statement = self._statement()
        while self._accept_op(";"):
            pass
        if self._next.kind == "end":
            return statement
        if self._tokens[self._at - 1].text == ";":
            raise unsupported("The context currently only supports a single SQL statement")
        raise self._unexpected("end of statement")

    def _statement(self) -> Statement:
        token = self._next
        if self._is("select") or self._is("with") or self._is_op("("):
            return self._query()
        if self._accept("show", "tables"):
            return ShowTables()
        if (
            self._accept("show", "columns", "from")
            or self._accept("describe")
            or self._accept("desc")
        ):
            return ShowColumns(self._dotted())
        if token.kind == "word":
            if token.text in _DML:
                raise unplanned(f"DML not supported: {_DML[token.text]}")
            if token.text in _DDL:
                raise unplanned(f"DDL not supported: {token.text.capitalize()}")
            if token.text in _STATEMENTS or token.text == "show":
                raise unplanned(f"Statement not supported: {token.text.capitalize()}")
        raise self._unexpected("an SQL statement")

    def _query(self) -> Query:
        return self._deeper(self._whole_query)

    def _whole_query(self) -> Query:
        named: list[tuple[str, Query]] = []
        if self._accept("with"):
            if (
                self._is("recursive")
                and self._peek().kind in ("word", "quoted")
                and not self._is("recursive", "as")
            ):
                raise unsupported("recursive queries")
            named.extend(self._list(self._named))
            if len({name for name, _ in named}) < len(named):
                raise unplanned("WITH query name specified more than once")
        body = self._combined()
        order: tuple[Sort, ...] = ()
        limit: int | None = None
        offset: int | None = None
        if self._accept("order", "by"):
            order = self._list(self._sort)
        for _ in range(2):
            if limit is None and self._accept("limit"):
                limit = None if self._accept("all") or self._accept("null") else self._integer()
            elif offset is None and self._accept("offset"):
                offset = self._integer()
                self._accept("rows")
        return Query(body, tuple(named), order, limit, offset)

    def _named(self) -> tuple[str, Query]:
        name = self._identifier()
        self._expect("as")
        if self._is("insert") or self._is("update") or self._is("delete"):
            raise self._unexpected("a query")
        self._expect_op("(")
        if self._next.kind == "word" and self._next.text in _DML:
            raise unplanned(f"DML not supported: {_DML[self._next.text]}")
        query = self._query()
        self._expect_op(")")
        return name, query

    def _combined(self) -> Select | Combined | Query:
        left = self._intersected()
        while True:
            op = next((word for word in ("union", "except") if self._accept(word)), None)
            if op is None:
                return left
            left = Combined(self._with_all(op), left, self._intersected())

    def _intersected(self) -> Select | Combined | Query:
        left = self._simple()
        while self._accept("intersect"):
            left = Combined(self._with_all("intersect"), left, self._simple())
        return left

    def _with_all(self, op: str) -> str:
        self._combinations += 1
        if self._combinations > COMBINED_MAX:
            raise unplanned(f"a query may combine {COMBINED_MAX} others")
        if self._accept("all"):
            return f"{op} all"
        self._accept("distinct")
        return op

    def _simple(self) -> Select | Combined | Query:
        if self._accept_op("("):
            query = self._query()
            self._expect_op(")")
            return query
        return self._select()

    def _select(self) -> Select:
        self._expect("select")
        distinct = self._accept("distinct")
        if distinct and self._is("on"):
            raise unsupported("SELECT DISTINCT ON")
        if not distinct:
            self._accept("all")
        outputs = self._list(self._output)
        sources: tuple[Source, ...] = ()
        if self._accept("from"):
            sources = self._list(self._source)
        where = self._expression() if self._accept("where") else None
        group: tuple[Expression, ...] = ()
        if self._accept("group", "by"):
            group = self._list(self._expression)
        having = self._expression() if self._accept("having") else None
        if self._is("into"):
            raise unplanned("DDL not supported: SelectInto")
        return Select(outputs, sources, distinct, where, group, having)

    def _output(self) -> Output:
        if self._accept_op("*"):
            return Output(Star(None, self._excepted()), None)
        if (
            self._next.kind in ("word", "quoted")
            and self._peek().text == "."
            and self._peek(2)[:2] == ("op", "*")
        ):
            table = self._any_name()
            self._at += 2
            return Output(Star(table, self._excepted()), None)
        value = self._expression()
        return Output(value, self._alias())

    def _excepted(self) -> tuple[str, ...]:
        if not (self._is("except") or self._is("exclude")) or self._peek().text != "(":
            return ()
        self._at += 2
        names = self._list(self._any_name)
        self._expect_op(")")
        return names

    def _alias(self) -> str | None:
        if self._accept("as"):
            return self._any_name()
        token = self._next
        if token.kind == "quoted" or (token.kind == "word" and token.text not in _RESERVED):
            self._at += 1
            return token.text
        return None

    # Sources.

    def _source(self) -> Source:
        left = self._table()
        for _ in range(SOURCES_MAX + 1):
            kind = self._join_kind()
            if kind is None:
                return left
            right = self._table()
            on: Expression | None = None
            using: tuple[str, ...] = ()
            if kind != "cross":
                if self._accept("using"):
                    self._expect_op("(")
                    using = self._list(self._any_name)
                    self._expect_op(")")
                else:
                    self._expect("on")
                    on = self._expression()
            left = Join(kind, left, right, on, using)
        raise unplanned(f"a query may have {SOURCES_MAX} tables")

    def _join_kind(self) -> str | None:
        if self._is("natural"):
            raise unsupported("NATURAL JOIN")
        if self._accept("cross", "join"):
            return "cross"
        if self._accept("join") or self._accept("inner", "join"):
            return "inner"
        for kind in ("left", "right", "full"):
            if self._is(kind, "join") or self._is(kind, "outer", "join"):
                self._at += 1
                self._accept("outer")
                self._expect("join")
                return kind
        return None

    def _table(self) -> Source:
        self._sources += 1
        if self._sources > SOURCES_MAX:
            raise unplanned(f"a query may have {SOURCES_MAX} tables")
        if self._is("lateral"):
            raise unsupported("LATERAL")
        if self._accept_op("("):
            if self._is("select") or self._is("with") or self._is_op("("):
                query = self._query()
                self._expect_op(")")
                return Derived(query, self._alias())
            source = self._deeper(self._source)
            self._expect_op(")")
            return source
        parts = self._dotted()
        if self._is_op("("):
            raise unsupported(f"table function {parts[-1]}")
        return Table(parts, self._alias())

    # Expressions, by precedence.

    def _expression(self) -> Expression:
        return self._deeper(self._or)

    def _or(self) -> Expression:
        operands = [self._and()]
        while self._accept("or"):
            operands.append(self._and())
        return operands[0] if len(operands) == 1 else Chain("or", tuple(operands))

    def _and(self) -> Expression:
        operands = [self._not()]
        while self._accept("and"):
            operands.append(self._not())
        return operands[0] if len(operands) == 1 else Chain("and", tuple(operands))

    def _not(self) -> Expression:
        if self._is("not") and not self._is("not", "exists"):
            self._at += 1
            return Unary("not", self._deeper(self._not))
        return self._above(_NOT_LEVEL)

    def _above(self, level: int) -> Expression:
        """An expression of operators that bind more tightly than a level."""
        left = self._deeper(self._operand)
        for _ in range(OPERATORS_MAX):
            longer = self._extended(left, level)
            if longer is None:
                return left
            left = longer
        raise unreadable("too many operators follow each other")

    def _extended(self, left: Expression, level: int) -> Expression | None:
        token = self._next
        if token.kind == "op":
            own = _LEVELS.get(token.text)
            if own is None or own <= level:
                return None
            self._at += 1
            return self._operator(token.text, own, left)
        if token.kind != "word":
            return None
        if token.text == "is" and level < _IS_LEVEL:
            self._at += 1
            return self._is_test(left)
        if level < _LIKE_LEVEL:
            ahead = 1 if token.text == "not" else 0
            word = self._peek(ahead)
            if word.kind == "word" and word.text in ("in", "between", "like", "ilike"):
                self._at += ahead + 1
                return self._membership(left, word.text, negated=bool(ahead))
        return None

    def _operator(self, text: str, own: int, left: Expression) -> Expression:
        if text == "::":
            return Cast(left, self._type())
        if text == "[":
            index = self._expression()
            self._expect_op("]")
            return Item(left, index)
        if text in ("=", "==") and (self._is("any") or self._is("some")):
            self._at += 1
            self._expect_op("(")
            values = self._expression()
            self._expect_op(")")
            return AnyOf(left, values)
        op = _COMPARISONS.get(text) or _OTHERS.get(text) or text
        return Binary(op, left, self._deeper(lambda: self._above(own)))

    def _is_test(self, left: Expression) -> Expression:
        negated = self._accept("not")
        if self._accept("distinct", "from"):
            op = "is not distinct from" if negated else "is distinct from"
            return Binary(op, left, self._deeper(lambda: self._above(_IS_LEVEL)))
        for what in ("null", "true", "false", "unknown"):
            if self._accept(what):
                return Is(left, what, negated)
        raise self._unexpected("[NOT] NULL | TRUE | FALSE | UNKNOWN | DISTINCT FROM after IS")

    def _membership(self, left: Expression, word: str, *, negated: bool) -> Expression:
        if word == "between":
            low = self._deeper(lambda: self._above(_LIKE_LEVEL))
            self._expect("and")
            return Between(left, low, self._deeper(lambda: self._above(_LIKE_LEVEL)), negated)
        if word == "in":
            self._expect_op("(")
            if self._is("select") or self._is("with"):
                query = self._query()
                self._expect_op(")")
                return In(left, query, negated)
            values = self._list(self._expression)
            self._expect_op(")")
            return In(left, values, negated)
        pattern = self._deeper(lambda: self._above(_LIKE_LEVEL))
        escape: str | None = None
        if self._accept("escape"):
            token = self._take()
            if token.kind != "string" or len(token.text) > 1:
                self._at -= 1
                raise self._unexpected("one character")
            escape = token.text
        return Like(word, left, pattern, escape, negated)

    def _operand(self) -> Expression:
        token = self._next
        if token.kind == "op":
            return self._operand_of_op(token)
        self._at += 1
        if token.kind == "number":
            return Literal("number", token.text)
        if token.kind == "string":
            return Literal("string", token.text)
        if token.kind == "word":
            special = self._operand_of_word(token)
            if special is not None:
                return special
        self._at -= 1
        if token.kind == "word" and token.text in _NO_FUNCTION:
            raise self._unexpected("an expression")
        if token.kind == "word" and self._peek().kind == "op" and self._peek().text == "(":
            self._at += 2
            return self._call(token.text)
        if token.kind == "quoted" and self._peek().kind == "op" and self._peek().text == "(":
            raise unsupported("quoted names of functions")
        parts = self._dotted()
        if self._is_op("("):
            raise unsupported("names of functions with a schema")
        return Name(parts)

    def _operand_of_op(self, token: Token) -> Expression:
        if token.text in ("-", "+"):
            self._at += 1
            return Unary(token.text, self._deeper(lambda: self._above(_UNARY_LEVEL)))
        if token.text == "(":
            self._at += 1
            if self._is("select") or self._is("with"):
                query = self._query()
                self._expect_op(")")
                return Subquery(query)
            value = self._expression()
            self._expect_op(")")
            return value
        raise self._unexpected("an expression")

    def _operand_of_word(self, token: Token) -> Expression | None:
        """What a word begins that is neither a name nor a call; the word itself was taken."""
        word = token.text
        if word == "null":
            return Literal("null", "null")
        if word in ("true", "false"):
            return Literal("boolean", word)
        if word == "case":
            return self._deeper(self._case)
        if word in ("cast", "extract", "exists", "not"):
            return self._syntax(word)
        if word in _TYPES_OF_TEXTS and self._next.kind == "string":
            text = self._take().text
            if word == "interval" and self._next.kind == "word" and self._next.text in _UNITS:
                text = f"{text} {self._take().text}"
            return Cast(Literal("string", text), word)
        if word in ("current_timestamp", "current_date") and not self._is_op("("):
            return Call(word, ())
        return None

    def _syntax(self, word: str) -> Expression | None:
        if word == "exists" or (word == "not" and self._accept("exists")):
            self._expect_op("(")
            query = self._query()
            self._expect_op(")")
            found = Subquery(query, exists=True)
            return found if word == "exists" else Unary("not", found)
        if word == "not":
            return None
        self._expect_op("(")
        if word == "cast":
            value = self._expression()
            self._expect("as")
            result: Expression = Cast(value, self._type())
        else:
            field = self._take()
            if field.kind not in ("word", "string"):
                self._at -= 1
                raise self._unexpected("a field")
            self._expect("from")
            result = Extract(field.text.lower(), self._expression())
        self._expect_op(")")
        return result

    def _case(self) -> Expression:
        operand = None if self._is("when") else self._expression()
        branches: list[tuple[Expression, Expression]] = []
        while self._accept("when"):
            condition = self._expression()
            self._expect("then")
            branches.append((condition, self._expression()))
        if not branches:
            raise self._unexpected("WHEN")
        otherwise = self._expression() if self._accept("else") else None
        self._expect("end")
        return Case(operand, tuple(branches), otherwise)

    def _type(self) -> str:
        words = [self._any_name()]
        for more in ("unsigned", "precision", "varying"):
            if self._accept(more):
                words.append(more)
        if words[0] in ("timestamp", "time"):
            if self._accept("with", "time", "zone"):
                words.append("with time zone")
            elif self._accept("without", "time", "zone"):
                words.append("without time zone")
        if self._accept_op("("):
            sizes = self._list(self._integer)
            self._expect_op(")")
            words.append(f"({','.join(map(str, sizes))})")
        return " ".join(words).lower()

    def _call(self, name: str) -> Expression:
        star = distinct = False
        arguments: tuple[Expression, ...] = ()
        order: tuple[Sort, ...] = ()
        if self._is_op("*"):
            self._at += 1
            star = True
        elif not self._is_op(")"):
            distinct = self._accept("distinct")
            arguments = self._list(self._expression)
            if self._accept("order", "by"):
                order = self._list(self._sort)
        self._expect_op(")")
        where: Expression | None = None
        if self._accept("filter"):
            self._expect_op("(")
            self._expect("where")
            where = self._expression()
            self._expect_op(")")
        over = self._window() if self._accept("over") else None
        return Call(name, arguments, star, distinct, order, where, over)

    def _window(self) -> Window:
        self._expect_op("(")
        partition: tuple[Expression, ...] = ()
        order: tuple[Sort, ...] = ()
        if self._accept("partition", "by"):
            partition = self._list(self._expression)
        if self._accept("order", "by"):
            order = self._list(self._sort)
        frame: list[str] = []
        while not self._is_op(")"):
            token = self._take()
            is_known = token.kind == "word" and token.text in _FRAME_WORDS
            if not (is_known or (token.kind == "number" and token.text.isdecimal())):
                self._at -= 1
                raise self._unexpected(")")
            frame.append(token.text)
        self._expect_op(")")
        return Window(partition, order, " ".join(frame))

    def _sort(self) -> Sort:
        key = self._expression()
        descending = self._accept("desc")
        if not descending:
            self._accept("asc")
        nulls: str | None = None
        if self._accept("nulls"):
            nulls = "first" if self._accept("first") else "last"
            if nulls == "last":
                self._expect("last")
        return Sort(key, descending, nulls)
