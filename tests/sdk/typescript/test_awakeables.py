"""Awakeables: one id, one answer, from wherever it comes."""

from acceptance.test_awakeables import *
