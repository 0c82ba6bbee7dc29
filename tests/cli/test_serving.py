"""Serving versions, and reloading while one writes."""

import re
import socket
from pathlib import Path

import httpx

from support.commands import Cli, howdah, until
from support.servers import HowdahProcess, Servers

PROGRAM = Path(__file__).with_name("program.py")

FIRST = """
from datetime import timedelta
from howdah import Context, InvocationRetryPolicy, Service, TerminalError

RETRY = InvocationRetryPolicy(initial_interval=timedelta(milliseconds=50), max_attempts=4)
greeter = Service("Greeter")

@greeter.handler()
async def greet(ctx: Context, name: str) -> str:
    return f"Hello {name}"

@greeter.handler()
async def refuse(ctx: Context) -> None:
    raise TerminalError("not today", status_code=403)

@greeter.handler(invocation_retry_policy=RETRY)
async def wait(ctx: Context) -> str:
    await ctx.signal("go", type_hint=str)
    return "first code"

@greeter.handler(invocation_retry_policy=RETRY)
async def charge(ctx: Context) -> str:
    await ctx.run("charge", lambda: 1)
    await ctx.signal("go", type_hint=str)
    return "charged"
"""


def program(folder: Path, text: str = FIRST) -> Path:
    path = folder / "greeter.py"
    path.write_text(text)
    return path


def develop(servers: Servers, dsn: str, *arguments: str, **environment: str) -> HowdahProcess:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    served = servers.run(
        "dev", *arguments, "--ingress", address, "--admin", "127.0.0.1:0",
        **{"HOWDAH_DATABASE_URL": dsn, "HOWDAH_INACTIVITY_TIMEOUT": "50ms", **environment},
    )  # fmt: skip
    served.wait_until_said("Try next")
    return served


def post(base: str, path: str, body: object = None) -> httpx.Response:
    return httpx.post(f"{base}{path}", json=body, timeout=30, trust_env=False)


def reloaded(served: HowdahProcess, times: int) -> None:
    until(lambda: served.said.count("is ready") > times)


# --- versions ------------------------------------------------------------------------------------


def test_serve_says_the_deployments_name(servers: Servers, dsn: str) -> None:
    named = servers.serve(dsn, str(PROGRAM), "--deployment", "v7")
    named.wait_until_said("Try next")
    assert re.search(r"deployment  v7\n", named.said)
    assert "howdah invocations list" in named.said

    digest = servers.serve(dsn, str(PROGRAM))
    digest.wait_until_said("Try next")
    assert re.search(r"deployment  [0-9a-f]{16} \(a digest of the handlers", digest.said)


def test_a_service_loses_handlers_only_when_breaking(
    servers: Servers, dsn: str, tmp_path: Path
) -> None:
    first = servers.serve(dsn, str(program(tmp_path)), "--deployment", "v1")
    first.wait_until_said("Try next")
    assert first.stop() == 0
    program(tmp_path, FIRST.replace("async def greet(", "async def hail("))

    refused = servers.serve(dsn, str(tmp_path / "greeter.py"), "--deployment", "v2")
    assert refused.process.wait(40) == 2
    assert "--breaking" in refused.said

    broken = servers.serve(
        dsn, str(tmp_path / "greeter.py"), "--deployment", "v2", "--breaking", "--processes", "2"
    )
    assert post(broken.ingress, "/Greeter/hail", "joe").json() == "Hello joe"
    assert Cli(dsn).json("services", "describe", "Greeter")["deployment"] == "v2"


def test_a_mistyped_service_of_a_module_is_answered_with_a_suggestion(tmp_path: Path) -> None:
    program(tmp_path)

    ran = howdah("serve", "greeter.py:greter", folder=tmp_path)

    assert ran.returncode == 2
    assert "Did you mean greeter?" in ran.stderr


# --- dev -----------------------------------------------------------------------------------------


def test_dev_shows_what_becomes_of_each_invocation(
    servers: Servers, dsn: str, tmp_path: Path
) -> None:
    served = develop(servers, dsn, str(program(tmp_path)))
    assert re.search(r"deployment  dev\n", served.said)
    id_ = post(served.ingress, "/Greeter/greet", "joe").headers["x-restate-id"]
    post(served.ingress, "/Greeter/refuse")

    served.wait_until_said("403 not today")
    served.wait_until_said(id_)
    line = next(line for line in served.said.splitlines() if id_ in line)
    assert re.fullmatch(rf"✓  {id_}  Greeter/greet  succeeded  [\d.]+ m?s", line)
    assert re.search(r"✗  \S+  Greeter/refuse  failed  [\d.]+ m?s  403 not today", served.said)


def test_dev_can_be_quiet(servers: Servers, dsn: str, tmp_path: Path) -> None:
    served = develop(servers, dsn, "--quiet", str(program(tmp_path)))
    id_ = post(served.ingress, "/Greeter/greet", "joe").headers["x-restate-id"]

    assert served.stop() == 0
    assert id_ not in served.said


def test_what_is_in_flight_goes_on_with_the_new_code(
    servers: Servers, dsn: str, tmp_path: Path
) -> None:
    cli = Cli(dsn)
    served = develop(servers, dsn, str(program(tmp_path)))
    id_ = cli.send("Greeter/wait")
    cli.wait_for(id_, "suspended")

    program(tmp_path, FIRST.replace("first code", "second code"))
    reloaded(served, 1)
    cli.out("signal", id_, "go", '"now"')

    cli.wait_for(id_, "succeeded")
    found = cli.json("invocations", "describe", id_)
    assert (found["output"], found["deployment"]) == ("second code", "dev")


def test_code_that_takes_another_path_is_shown_beside_what_was_recorded(
    servers: Servers, dsn: str, tmp_path: Path
) -> None:
    cli = Cli(dsn)
    served = develop(servers, dsn, str(program(tmp_path)))
    id_ = cli.send("Greeter/charge")
    cli.wait_for(id_, "suspended")

    program(tmp_path, FIRST.replace('run("charge"', 'run("bill"'))
    reloaded(served, 1)
    cli.out("signal", id_, "go", '"now"')
    cli.wait_for(id_, "paused")

    served.wait_until_said("no more attempts")
    shown = served.said[served.said.index(f"↻  {id_}  Greeter/charge  attempt") :].splitlines()
    assert shown[1].startswith("    Greeter/charge took another path than its journal, at entry 1")
    assert re.fullmatch(r"      recorded:  run.*charge.*", shown[2])
    assert re.fullmatch(r"      attempted: run.*bill.*", shown[3])
    said = cli.out("invocations", "describe", id_)
    assert re.search(r"^ +recorded:  run.*charge", said, re.M)

    program(tmp_path)
    reloaded(served, 2)
    cli.out("invocations", "resume", id_)
    cli.wait_for(id_, "succeeded")


def test_dev_lets_handlers_come_and_go(servers: Servers, dsn: str, tmp_path: Path) -> None:
    served = develop(servers, dsn, str(program(tmp_path)))

    program(tmp_path, FIRST.replace("async def greet(", "async def hail("))
    reloaded(served, 1)

    assert post(served.ingress, "/Greeter/hail", "joe").json() == "Hello joe"


def test_dev_reloads_when_its_options_change_and_puts_up_with_wrong_ones(
    servers: Servers, dsn: str, tmp_path: Path
) -> None:
    config = tmp_path / "howdah.toml"
    config.write_text('log_level = "info"\n')
    served = develop(servers, dsn, "--config", str(config), str(program(tmp_path)))

    config.write_text('log_levl = "debug"\n')
    served.wait_until_said("Did you mean log_level?")
    assert post(served.ingress, "/Greeter/greet", "joe").json() == "Hello joe"

    config.write_text('log_level = "debug"\n[services.Greeter]\ningress_private = true\n')
    reloaded(served, 1)
    until(lambda: post(served.ingress, "/Greeter/greet", "joe").status_code != 200)
