"""A process that asks for one seat and kills itself at a chosen database round trip.

    python crashing_process.py PROGRAM DSN KILL_AT

PROGRAM declares the ticket shop. KILL_AT counts looks at the database, two for each call: before it is sent and after its reply.
0: never. Prints the result.
"""

import asyncio
import faulthandler
import importlib.util
import os
import signal
import sys
from datetime import timedelta
from types import ModuleType

from howdah.options import Options
from howdah.worker.engine import Engine, Submission


def load(program: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("tickets", program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def main(program: str, dsn: str, kill_at: int) -> None:
    looks = 0

    def look(_statement: str) -> None:
        nonlocal looks
        looks += 1
        if looks == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    tickets = load(program)
    options = Options(lease=timedelta(seconds=2), inactivity_timeout=timedelta(0))
    engine = Engine(
        dsn=dsn, options=options, services=[tickets.cart, tickets.ticket], before_call=look
    )
    await engine.start()
    service = engine.registry.service("CartObject")
    assert service is not None
    accepted = await engine.accept(
        Submission(service.handlers["addTicket"], "joe", b'"seat2B"', [], "joe-seat2B")
    )
    assert accepted.outcome is not None
    outcome = await asyncio.wait_for(accepted.outcome, 30)
    sys.stdout.write(outcome.value.decode() + "\n")
    sys.stdout.flush()
    await engine.stop()


if __name__ == "__main__":
    # A process that hangs says where.
    faulthandler.dump_traceback_later(45, exit=True)
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
