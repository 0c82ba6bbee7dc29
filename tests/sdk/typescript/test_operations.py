"""What operators do: look at a journal, repair and resume, start again."""

from acceptance.test_operations import *
