"""Scopes: how many run at once, and what is idempotent."""

from acceptance.test_limits import *
