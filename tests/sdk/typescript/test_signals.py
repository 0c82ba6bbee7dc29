"""Signals by name: each is received once, in the order of arrival."""

from acceptance.test_signals import *
