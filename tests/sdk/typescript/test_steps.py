"""Steps: recorded once, retried by their own policy."""

from acceptance.test_steps import *
