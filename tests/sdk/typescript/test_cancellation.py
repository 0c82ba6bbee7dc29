"""A cancellation is seen where the handler waits, and reaches what it called."""

from acceptance.test_cancellation import *
