"""What the code of services really did, as far as it runs in the tests' process."""

from collections import Counter

effects: Counter[str] = Counter()
"""How often something was executed, by names that each test makes up.

It belongs to the process, as a side effect outside of a runtime would.
"""
