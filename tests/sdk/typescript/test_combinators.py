"""Waiting for several things at once: who is first is decided once, by the journal."""

from acceptance.test_combinators import *
