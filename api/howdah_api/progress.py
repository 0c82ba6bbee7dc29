"""`howdah dev` shows what becomes of invocations: a short line for each that ends or fails."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import UUID

import click

from howdah.errors import NonDeterminism
from howdah.store.registry import HandlerRow
from howdah.store.units import Outcome
from howdah_api.texts import lasted, one_line, shown

MESSAGE_CHARACTERS_MAX = 300
_DONE, _FAILED, _AGAIN = "\N{CHECK MARK}", "\N{BALLOT X}", "\N{CLOCKWISE OPEN CIRCLE ARROW}"
_INDENT = "    "


class Progress:
    """Prints to stdout: id, target, what became of it, and how long that took."""

    def completed(self, row: HandlerRow, key: str | None, outcome: Outcome) -> None:
        """Print how an invocation ended, and the time since it was accepted."""
        is_done = outcome.outcome == "succeeded"
        sign = click.style(_DONE, fg="green") if is_done else click.style(_FAILED, fg="red")
        words = [sign, str(outcome.id), _target(row, key), outcome.outcome, _age(outcome.id)]
        if not is_done:
            words.append(f"{outcome.code} {one_line(outcome.message, MESSAGE_CHARACTERS_MAX)}")
        _say("  ".join(words))

    def failed(
        self,
        id_: UUID,
        row: HandlerRow,
        key: str | None,
        attempt: int,
        error: BaseException,
        delay: timedelta | None,
    ) -> None:
        """Print why an attempt failed, and when the next one begins."""
        after = f"again in {lasted(delay)}" if delay is not None else "no more attempts"
        words = [click.style(_AGAIN, fg="yellow"), str(id_), _target(row, key)]
        words += [f"attempt {attempt} failed", after]
        if isinstance(error, NonDeterminism):
            lines = shown(error.message, 10 * MESSAGE_CHARACTERS_MAX).rstrip().splitlines()
            lines.append(error.hint or "")
            _say("\n".join(["  ".join(words), *(f"{_INDENT}{line}" for line in lines)]))
            return
        said = f"{type(error).__name__}: {one_line(error, MESSAGE_CHARACTERS_MAX)}"
        _say("  ".join([*words, said]))


def _target(row: HandlerRow, key: str | None) -> str:
    parts = [row.service, row.name] if key is None else [row.service, one_line(key, 60), row.name]
    return "/".join(parts)


def _age(id_: UUID) -> str:
    """The time since an id was made: its first 48 bits are milliseconds."""
    return lasted(timedelta(milliseconds=max(time.time() * 1000 - (id_.int >> 80), 0.0)))


def _say(text: str) -> None:
    try:
        click.echo(text)
    except OSError:
        pass  # whoever read this is gone; the work goes on
