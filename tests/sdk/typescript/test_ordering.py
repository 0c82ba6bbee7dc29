"""Calls and sends of one handler reach a key in the order in which they were made."""

from acceptance.test_ordering import *
