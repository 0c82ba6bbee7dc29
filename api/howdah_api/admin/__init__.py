"""The admin port: what is served, and what operators do to invocations and state.

One file for each group of routes. They hold no decisions about invocations: Postgres decides, the
engine asks it, and a route turns the word that comes back into a status and a sentence. So a
process that executes nothing serves all of them.
"""

from howdah_api.admin.app import create_admin

__all__ = ["create_admin"]
