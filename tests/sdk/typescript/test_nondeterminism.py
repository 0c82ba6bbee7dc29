"""Code that does something else when it is repeated ends, instead of waiting or going on."""

from acceptance.test_nondeterminism import *
