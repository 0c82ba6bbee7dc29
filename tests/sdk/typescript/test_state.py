"""State of objects."""

from acceptance.test_state import *
