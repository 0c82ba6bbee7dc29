"""For those who test their own handlers: an engine, a database, and time that can be skipped.

```python
async with howdah.testing.environment([greeter]) as env:
    assert await env.call(greet, "Ada") == "Hello Ada"
```

docs/testing.md is the guide. Under pytest the fixture `howdah_environment` is the same function.
"""

from howdah.testing.crashing import CrashReport, crash_everywhere
from howdah.testing.environments import Environment, EnvironmentFactory, Sent, environment
from howdah.testing.journals import Entry, Journal
from howdah.testing.problems import CrashFailure, ForgottenAwait, Unfinished

__all__ = [
    "CrashFailure",
    "CrashReport",
    "Entry",
    "Environment",
    "EnvironmentFactory",
    "ForgottenAwait",
    "Journal",
    "Sent",
    "Unfinished",
    "crash_everywhere",
    "environment",
]
