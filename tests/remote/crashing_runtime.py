"""A runtime that calls `Greeter/everything` and kills itself at a chosen database round trip.

    python crashing_runtime.py DSN INACTIVITY_SECONDS KILL_AT

KILL_AT counts looks at the database, two for each call: before it is sent and after its reply. 0: never.
Prints the result.
"""

import asyncio
import faulthandler
import os
import signal
import sys
from datetime import timedelta

from howdah.options import Options
from howdah.remote.connecting import Connector
from howdah.remote.deployments import RemoteDeployments
from howdah.worker.engine import Engine, Submission


async def main(dsn: str, inactivity: float, kill_at: int) -> None:
    looks = 0

    def look(_statement: str) -> None:
        nonlocal looks
        looks += 1
        if looks == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    options = Options(
        lease=timedelta(seconds=2),
        inactivity_timeout=timedelta(seconds=inactivity),
        endpoint_allow=("127.0.0.1",),
    )
    remote = RemoteDeployments(Connector(options).connect_deployment)
    engine = Engine(dsn=dsn, options=options, services=[], before_call=look, remote=remote)
    await engine.start()
    service = engine.registry.service("Greeter")
    assert service is not None
    accepted = await engine.accept(
        Submission(service.handlers["everything"], None, b'"k"', [], "everything")
    )
    assert accepted.outcome is not None
    outcome = await asyncio.wait_for(accepted.outcome, 30)
    sys.stdout.write(outcome.value.decode() + "\n")
    sys.stdout.flush()
    await engine.stop()


if __name__ == "__main__":
    # A process that hangs says where.
    faulthandler.dump_traceback_later(45, exit=True)
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
