"""Calls from handler to handler, and what idempotency keys make of them."""

from acceptance.test_calls import *
