"""Queries that are refused, in the words and with the statuses that clients know."""

from __future__ import annotations


class QueryRefused(Exception):
    """A query that is not answered.

    Attributes:
        status: HTTP status: 400 what is asked cannot be meant, 500 there is no such table or it
            failed on the way.
        message: What is wrong, without the words that every message begins with.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def unreadable(problem: str) -> QueryRefused:
    """400: this is no SQL, or none that is known here."""
    return QueryRefused(400, f'SQL error: ParserError("{problem}")')


def unsupported(what: str) -> QueryRefused:
    """400: it is understood, and not done."""
    return QueryRefused(400, f"This feature is not implemented: {what}")


def unplanned(problem: str) -> QueryRefused:
    """400: it cannot be meant like this."""
    return QueryRefused(400, f"Error during planning: {problem}")


def unknown_table(name: str) -> QueryRefused:
    """500: clients of this interface know this status."""
    return QueryRefused(500, f"Error during planning: table 'restate.public.{name}' not found")


def unknown_column(name: str, valid: list[str]) -> QueryRefused:
    """400, with the columns that there are."""
    known = ", ".join(valid[:100])
    return QueryRefused(
        400,
        f"Schema error: No field named {name}." + (f" Valid fields are {known}." if known else ""),
    )
