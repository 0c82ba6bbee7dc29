"""Every example of docs/http.md, as it stands there, against a server of its own."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from starlette.routing import Route

from howdah.options import Options
from howdah.remote.connecting import Connector
from howdah.worker.engine import Engine
from howdah_api.admin import create_admin
from howdah_api.admin.invocations import OPERATIONS, RESTART
from support.servers import HowdahProcess, Servers

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
(PROGRAM,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
EXAMPLES = [
    example.split("\n", 1)
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.M | re.S)
    for example in re.split(r"^\$ ", block, flags=re.M)[1:]
]
MARK = "--- example"
# What differs each time: ids, times, and what the page leaves out.
VARIES = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z|…", re.ASCII
)


@pytest.fixture
def served(servers: Servers, dsn: str, tmp_path: Path) -> HowdahProcess:
    program = tmp_path / "shop.py"
    program.write_text(PROGRAM)
    return servers.serve(dsn, str(program))


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples are for curl")
def test_every_example_answers_what_the_page_says(served: HowdahProcess, tmp_path: Path) -> None:
    script = "".join(f"{command}\necho\necho '{MARK}'\n" for command, _ in EXAMPLES)
    script = script.replace("http://127.0.0.1:8080", served.ingress)
    script = script.replace("http://127.0.0.1:9070", served.admin)
    script = re.sub(r"\bcurl ", "curl --silent --show-error --noproxy '*' --max-time 20 ", script)
    ran = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )

    assert ran.returncode == 0, ran.stderr
    answers = ran.stdout.split(f"{MARK}\n")[:-1]
    assert len(answers) == len(EXAMPLES)
    for (command, expected), answer in zip(EXAMPLES, answers, strict=True):
        pattern = ".*".join(re.escape(part) for part in VARIES.split(expected.strip()))
        assert re.fullmatch(pattern, answer.strip(), re.S), f"{command}\n{answer}"


def test_the_page_names_every_route_of_the_admin_port() -> None:
    engine = Engine.create(dsn="postgresql://nowhere", options=Options(), services=[])
    routes = create_admin(engine, connector=Connector(engine.options), ingress_url="").routes
    named = re.findall(r"`([A-Z]+) (/[^ `?]*)[^`]*`", PAGE[PAGE.index("\n## Admin") :])

    for route in routes:
        assert any(matches(route, method, path) for method, path in named), route.path
    for method, path in named:
        assert any(matches(route, method, path) for route in routes), path
    operations = {
        path.rpartition("/")[2]
        for method, path in named
        if method == "PATCH" and path.startswith("/invocations/")
    }
    assert operations == {*OPERATIONS, RESTART}


def matches(route: Route, method: str, path: str) -> bool:
    return method in (route.methods or ()) and route.path_regex.match(path) is not None
