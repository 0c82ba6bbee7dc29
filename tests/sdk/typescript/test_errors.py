"""What a failing handler says reaches whoever waits for it."""

from acceptance.test_errors import *
