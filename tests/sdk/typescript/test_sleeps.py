"""Sleeps: never early, any number of them."""

from acceptance.test_sleeps import *
