"""A workflow runs once for each key; the handlers beside it read its state and unblock it."""

from acceptance.test_workflows import *
