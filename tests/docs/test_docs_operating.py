"""docs/operating.md, executed: each command and statement on an invocation in the state it is for."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

import howdah_api.cli
from howdah.options import Options
from howdah.remote.connecting import Connector
from howdah.worker.engine import Engine
from howdah_api.admin import create_admin
from support.commands import Cli, until
from support.pages import DOCS, Block, Shell, blocks_of
from support.proxies import door_to
from support.servers import Servers

PAGE = (DOCS / "operating.md").read_text()
BLOCKS = blocks_of("operating.md")
(PROGRAM,) = (block for block in BLOCKS if block.file == "shop.py")
ELSEWHERE = ("The database was away", "Backups")
VERB = re.compile(
    r"(?<![a-z])(purge[-_]journal|purge|restart|resume|pause|cancel|kill|resolve|reject|signal)"
    r"(?![a-z])"
)
LOOKS = re.compile(
    r"^(howdah (\w+ list|\w+ describe|check|state get)|select (?!.*howdah\.\w+\()|curl -i|curl \S+$)",
    re.S,
)
OLD_PORTS = ("--ingress", "127.0.0.1:8089", "--admin", "127.0.0.1:9079")


AFTER = {
    "cancel": "failed",
    "kill": "killed",
    "pause": "paused",
    "purge": "gone",
    "purge-journal": "succeeded",
    "resolve": "succeeded",
    "signal": "succeeded",
}


class World:
    """The shop, served, and the means to bring an invocation into any state."""

    def __init__(self, shell: Shell, dsn: str) -> None:
        self.shell = shell
        self.cli = Cli(dsn)
        self.billed: list[str] = []
        self._keys = 0
        (shell.folder / "shop.py").write_text(PROGRAM.text)
        shell.serve("shop.py", "--deployment", "v1")

    def send(self, target: str, argument: str | None = None, *, status: str) -> str:
        service, *key, handler = target.split("/")
        [[id_]] = self.cli.sql(
            "select howdah.send($1, $2, $3::jsonb, key => $4)::text",
            *(service, handler, argument, key[0] if key else None),
        )
        self.cli.wait_for(id_, status)
        return str(id_)

    def new_key(self) -> str:
        self._keys += 1
        return f"key-{self._keys}"

    # One invocation in the state that a section is about.

    def suspended(self, _: str = "") -> str:
        return self.send(f"Seat/{self.new_key()}/reserve", '"ann"', status="suspended")

    def paused(self, _: str) -> str:
        self.billed.append(self.send("Shop/bill", '"ann"', status="paused"))
        return self.billed[-1]

    def backing_off(self, _: str) -> str:
        return self.send("Shop/mail", '"ann"', status="backing_off")

    def waiting(self, text: str) -> str:
        handler = "confirm" if "wakeable" in text else "approve"
        return self.send(f"Shop/{handler}", status="suspended")

    def behind(self, _: str) -> str:
        self.send("Seat/2B/reserve", '"ann"', status="suspended")
        return self.send("Seat/2B/release", status="inbox")

    def running(self, _: str) -> str:
        id_ = self.send("Shop/crawl", "3600", status="running")
        until(
            lambda: self.cli.sql(
                "select from howdah.journal where invocation_id = $1 and type = 'run'", id_
            )
        )
        return id_

    def held(self, _: str) -> str:
        """Behind another one in its scope, which has room for one."""
        self.cli.sql("select howdah.set_limit_rule('acme', 1)")
        send = "select howdah.send('Shop', 'crawl', '3600', scope => 'acme')::text"
        for status in ("running", "held"):
            [[id_]] = self.cli.sql(send)
            self.cli.wait_for(id_, status)
        return str(id_)

    def completed(self, _: str) -> str:
        return self.send("Shop/bill", '"joe"', status="succeeded")

    def unserved(self, _: str) -> str:
        """Of a service that is registered and that nobody serves."""
        if not self.cli.sql("select from howdah.services where name = 'Reports'"):
            program = "from howdah import Context, Service\n\nreports = Service('Reports')\n\n\n"
            program += "@reports.handler()\nasync def month(ctx: Context) -> None: ...\n"
            (self.shell.folder / "reports.py").write_text(program)
            assert self.shell.serve("reports.py", *OLD_PORTS).stop() == 0
        return self.send("Reports/month", status="ready")

    def stranded(self, count: int) -> list[str]:
        """Begun by a version that nobody serves."""
        old = self.shell.serve("shop.py", "--deployment", "old", *OLD_PORTS)
        begun = [self.suspended() for _ in range(count)]
        assert old.stop() == 0
        return begun

    def awakeable(self, id_: str) -> str:
        [[name]] = self.cli.sql("select name from howdah.waits where invocation_id = $1", id_)
        return str(name)

    def attempts(self, id_: str) -> int:
        rows = self.cli.sql("select attempts from howdah.invocations where id = $1", id_)
        return int(rows[0][0]) if rows else 0


SETUPS: dict[str, Callable[[World, str], str]] = {
    "A first look": World.suspended,
    "It is paused": World.paused,
    "It fails again and again": World.backing_off,
    "What it waits for does not come": World.waiting,
    "Its key is taken": World.behind,
    "Its scope has no room": World.held,
    "It runs for too long": World.running,
    "It is ready, and nobody takes it": World.unserved,
    "It should not be there": World.suspended,
    "It ended wrongly": World.completed,
    "The state of a key is wrong": World.completed,
    "The database grows": World.completed,
}


@pytest.fixture
def world(shell: Shell, dsn: str) -> World:
    return World(shell, dsn)


def parts_of(section: str) -> Iterator[tuple[Block, str]]:
    """The commands and statements of a section, in order."""
    for block in BLOCKS:
        if block.section != section:
            continue
        if block.language == "console":
            yield from ((block, command) for command, _ in block.commands)
        elif block.language == "sql":
            yield from ((block, statement) for statement in block.statements)


def needs_id(text: str) -> bool:
    return re.search(r"\$(ID|AWAKEABLE)\b|:'(id|awakeable)'", text) is not None


def is_id(value: object) -> bool:
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(value)) is not None


def is_look(text: str) -> bool:
    return LOOKS.match(re.sub(r"^--.*\n", "", text)) is not None


@pytest.mark.timeout(600)
def test_each_symptom_is_seen_and_mended(world: World) -> None:
    for section in dict.fromkeys(block.section for block in BLOCKS):
        if section in SETUPS or section == "Nobody serves its version":
            go_through(world, section)
    assert world.cli.sql("select * from howdah.check()") == []


def go_through(world: World, section: str) -> None:
    parts = list(parts_of(section))
    acts = [text for _, text in parts if needs_id(text) and not is_look(text)]
    if section in SETUPS:
        make = SETUPS[section]
        pool = [make(world, text) for text in acts]
        seen = make(world, "")
    else:
        *pool, seen = world.stranded(len(acts) + 1)
    if section == "It ended wrongly":
        world.send("Signup/ann/run", '"ann@example.com"', status="succeeded")
    for block, text in parts:
        id_ = pool.pop(0) if needs_id(text) and not is_look(text) else seen
        carry_out(world, block, text, id_)


def carry_out(world: World, block: Block, text: str, id_: str) -> None:
    where = f"line {block.line}: {text}"
    before = world.attempts(id_)
    world.shell.variables["ID"] = id_
    if "awakeable" in text.lower() and needs_id(text):
        world.shell.variables["AWAKEABLE"] = world.awakeable(id_)
    if block.language == "sql":
        literals = {"id": id_, "awakeable": world.shell.variables.get("AWAKEABLE", "")}
        query = re.sub(r":'(\w+)'", lambda found: f"'{literals[found[1]]}'", text)
        if is_look(text):
            assert until(lambda: world.cli.sql(query)), where
        else:
            if "from howdah.invocations" in text:
                world.suspended()
            for _ in range(100):
                [*_rest, answer] = world.cli.sql(query)[0]
                if answer != "still running":  # an attempt is on its way back
                    break
                time.sleep(0.05)
            is_done = answer in ("accepted", "done") or isinstance(answer, int)
            assert is_done or is_id(answer), f"{where}\n{answer}"
    else:
        printed = world.shell.run(text)
        assert world.shell.last_code == 0, f"{where}\n{printed}"
        assert '"message"' not in printed, f"{where}\n{printed}"
    if needs_id(text) and not is_look(text):
        took_effect(world, text, id_, before, where)


def took_effect(world: World, text: str, id_: str, before: int, where: str) -> None:
    """Wait until a verb has done to an invocation what the page says."""
    verb = VERB.findall(text)[0].replace("_", "-")
    if verb == "resume":
        until(lambda: world.attempts(id_) > before)
    elif verb == "restart":
        assert world.cli.sql("select from howdah.invocations where restarted_from = $1", id_), where
    elif "reject" in text:
        world.cli.wait_for(id_, "failed")
    else:
        world.cli.wait_for(id_, AFTER[verb])
    if verb == "purge-journal":
        journal = "select from howdah.journal where invocation_id = $1 and index > 0"
        assert not world.cli.sql(journal, id_), where
    if verb == "resume" and "latest" in text and id_ in world.billed:
        world.cli.wait_for(id_, "succeeded")  # the handler is mended


@pytest.mark.timeout(180)
def test_what_is_watched_is_silent_when_all_is_well(world: World) -> None:
    world.completed("")
    world.suspended()

    for block, statement in parts_of("What to watch"):
        assert world.cli.sql(statement) == [], f"line {block.line}: {statement}"

    world.paused("")
    _, first = next(parts_of("What to watch"))
    assert [row[:3] for row in world.cli.sql(first)] == [("Shop", "bill", 1)]


@pytest.mark.timeout(180)
def test_a_dead_worker_is_replaced(shell: Shell, dsn: str) -> None:
    (shell.folder / "shop.py").write_text(PROGRAM.text)
    ports = ("--ingress", "127.0.0.1:8081", "--admin", "127.0.0.1:9071")
    shell.serve("shop.py", "--deployment", "v1", HOWDAH_LEASE="2s")
    cli = Cli(dsn)
    id_ = cli.sql("select howdah.send('Shop', 'crawl', '3600')::text")[0][0]
    cli.wait_for(id_, "running")
    shell.serve("shop.py", "--deployment", "v1", *ports, HOWDAH_LEASE="2s")
    shell.jobs[0].stop(signal.SIGKILL)
    ((_, look),) = parts_of("A worker died")

    def statuses() -> dict[int, tuple[str, int]]:
        return {row[0]: (row[1], row[4]) for row in cli.sql(look)}

    until(lambda: statuses() == {1: ("fenced", 0), 2: ("alive", 1)})
    assert cli.sql("select attempts from howdah.invocations") == [(2,)]
    assert shell.jobs[1].said.count("a worker was fenced") == 1


@pytest.mark.timeout(180)
def test_a_database_that_was_away(servers: Servers, dsn: str, tmp_path: Path) -> None:
    with door_to(dsn) as (door, url):
        shell = Shell(tmp_path, servers, url)
        (tmp_path / "shop.py").write_text(PROGRAM.text)
        job = shell.serve("shop.py", HOWDAH_LEASE="2s")
        id_ = Cli(dsn).sql("select howdah.send('Shop', 'crawl', '0.5')::text")[0][0]
        ((_, command),) = parts_of("The database was away")
        door.close()
        until(lambda: "HTTP/1.1 503" in shell.run(command))
        asked = httpx.post(f"{job.ingress}/Shop/crawl", json=0, timeout=20, trust_env=False)
        door.open()
        until(lambda: "HTTP/1.1 200" in shell.run(command))

        assert asked.status_code == 503
        assert "retry-after" in asked.headers
        Cli(dsn).wait_for(id_, "succeeded")
        assert "the database is away" in job.said


@pytest.mark.timeout(180)
def test_a_restored_copy_goes_on(world: World, dsn: str, tmp_path: Path) -> None:
    *backup, end = [command for _, command in parts_of("Backups")]
    approved, forgotten = (world.waiting("") for _ in range(2))
    restored = urlunsplit(urlsplit(dsn)._replace(path="/restored"))
    world.shell.variables |= {"HOWDAH_DATABASE_URL": dsn, "RESTORED": restored}
    try:
        for command in backup:
            printed = world.shell.run(command)
            assert world.shell.last_code == 0, f"{command}\n{printed}"
        copy = Cli(restored)
        assert copy.status(approved) == "suspended"
        server = world.shell.serve(
            "shop.py", "--deployment", "v1", *OLD_PORTS,
            HOWDAH_DATABASE_URL=restored, HOWDAH_LEASE="2s",
        )  # fmt: skip
        copy.sql("select howdah.signal($1, 'approved', '1')", approved)
        copy.wait_for(approved, "failed", "succeeded")
        world.shell.run(end)
        copy.wait_for(forgotten, "killed")
        assert copy.sql("select * from howdah.check()") == []
        assert server.stop() == 0
        assert world.cli.status(approved) == "suspended"
    finally:
        world.cli.sql("drop database if exists restored with (force)")


def test_the_table_of_verbs_is_right() -> None:
    table = PAGE[PAGE.index("| To |") : PAGE.index("\n\nNothing of this")]
    commands = set(re.findall(r"`(?:howdah|…) ([a-z -]+?)(?: --\w+ \w+)?`", table))
    known = {
        f"{group} {name}" if hasattr(command, "commands") else group
        for group, command in howdah_api.cli.main.commands.items()
        for name in getattr(command, "commands", {"": None})
    }
    assert {one for one in commands if one not in known} <= {"resume"}
    engine = Engine.create(dsn="postgresql://nowhere", options=Options(), services=[])
    admin = create_admin(engine, connector=Connector(engine.options), ingress_url="")
    routes = [route.path_regex for route in admin.routes]
    for path in re.findall(r"`(?:PATCH|POST) (/invocations\S+|/services\S+)`", table):
        assert any(regex.match(path) for regex in routes), path


def test_every_section_is_executed() -> None:
    sections = {block.section for block in BLOCKS if block.language in ("console", "sql")}
    assert sections == {
        *SETUPS, *ELSEWHERE, "Nobody serves its version", "A worker died", "What to watch"
    }  # fmt: skip
