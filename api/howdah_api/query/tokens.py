"""SQL text as tokens. Comments and white space are gone; strings and quoted names are whole."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from howdah_api.query.failures import unreadable

QUERY_CHARACTERS_MAX: Final = 256 * 1024
NUMBER_CHARACTERS_MAX: Final = 40
NAME_CHARACTERS_MAX: Final = 200

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*)
    | (?P<comment>/\*)
    | (?P<word>[^\W\d]\w*)
    | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<string>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")+")
    | (?P<op>!~\*|==|<>|!=|<=|>=|\|\||::|!~|~\*|[-+*/%=<>~(),.;\[\]])
    """,
    re.VERBOSE,
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")


class Token(NamedTuple):
    """One token.

    Attributes:
        kind: word, number, string, quoted (a name), op or end.
        text: A word in lower case; a string or quoted name without its quotes; an operator.
        at: Where it begins in the text.
    """

    kind: str
    text: str
    at: int


def tokens_of(text: str) -> list[Token]:
    """Read a text into tokens, the last of which is `end`.

    Raises:
        QueryRefused: it is too long, or has characters that belong to no token.
    """
    if len(text) > QUERY_CHARACTERS_MAX:
        raise unreadable(f"the query is longer than {QUERY_CHARACTERS_MAX} characters")
    if "\0" in text:
        raise unreadable("the query has a NUL character")
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise unreadable(f"Unexpected {text[at]!r} at {place(text, at)}")
        kind, value = match.lastgroup, match.group()
        if kind == "comment":
            at = _after_comment(text, at)
            continue
        if kind == "word":
            value = value.lower()
        elif kind == "quoted":
            value = value[1:-1].replace('""', '"')
        elif kind == "number" and (
            len(value) > NUMBER_CHARACTERS_MAX or _runs_on(text, match.end())
        ):
            raise unreadable(f"Unexpected number at {place(text, at)}")
        elif kind == "string":
            value = value[1:-1].replace("''", "'")
        if kind in ("word", "quoted") and len(value) > NAME_CHARACTERS_MAX:
            raise unreadable(f"a name has more than {NAME_CHARACTERS_MAX} characters")
        if kind is not None and kind != "space":
            found.append(Token(kind, value, at))
        at = match.end()
    found.append(Token("end", "end of the query", len(text)))
    return found


def words_of(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


def place(text: str, at: int) -> str:
    """A position in words: `Line: 1, Column: 8`."""
    line = text.count("\n", 0, at) + 1
    return f"Line: {line}, Column: {at - text.rfind(chr(10), 0, at)}"


def _runs_on(text: str, at: int) -> bool:
    return at < len(text) and (text[at].isalnum() or text[at] in "_.")


def _after_comment(text: str, at: int) -> int:
    depth, end = 0, at
    while match := _COMMENT_EDGE.search(text, end):
        depth += 1 if match.group() == "/*" else -1
        end = match.end()
        if not depth:
            return end
    raise unreadable(f"Unexpected end of a comment that begins at {place(text, at)}")
