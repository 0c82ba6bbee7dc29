"""Loggers that say nothing while a handler repeats what its journal has already."""

from __future__ import annotations

import logging

from howdah.restate.server_context import is_replaying

__all__ = ["RestateLoggingFilter", "getLogger"]


def getLogger(name: str | None = None) -> logging.Logger:
    """The logger of this name, with a `RestateLoggingFilter`."""
    logger = logging.getLogger(name)
    if not any(isinstance(one, RestateLoggingFilter) for one in logger.filters):
        logger.addFilter(RestateLoggingFilter())
    return logger


class RestateLoggingFilter(logging.Filter):
    """Drops records of a handler that is replaying."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the record."""
        return bool(super().filter(record)) and not is_replaying()
