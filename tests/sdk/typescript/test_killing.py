"""A kill ends a whole tree of calls, and frees its keys."""

from acceptance.test_killing import *
