"""A Postgres of one's own, for development and single machines: no server to install or configure."""

from howdah.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
