"""`howdah.toml`: between the environment and the defaults, with messages that name the line."""

from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from howdah import Service, VirtualObject, Workflow, handler_of
from howdah.config import Config, ServiceConfig, read_config, read_options
from howdah.errors import InvalidOption
from howdah.handler import HandlerOptions
from howdah.options import Options, knob_of
from howdah.retry import InvocationRetryPolicy
from howdah.service import AnyService
from howdah_api.cli import main

SECOND = timedelta(seconds=1)
DOCS = Path(__file__).parents[2] / "docs"

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a `howdah.toml` into a folder of its own."""

    def write(text: str) -> Path:
        path = tmp_path / "howdah.toml"
        path.write_text(text)
        return path

    return write


def refusal(path: Path) -> str:
    """What is said of a file that cannot be used."""
    with pytest.raises(InvalidOption) as caught:
        read_config(path)
    return str(caught.value)


# --- options -------------------------------------------------------------------------------------


def test_options_are_read_from_the_folder_in_which_a_program_starts(write: Write) -> None:
    path = write(
        """
        database_url = "postgresql://db/howdah"
        roles = ["worker", "ingress"]
        processes = 4
        max_resident = "7"
        lease = "3s"
        body_bytes_max = 2048
        value_bytes_max = "1MiB"
        allow_unsafe_postgres = true
        pg_uid = 1000
        "data_dir" = "/srv/howdah"
        """
    )

    options = read_options({}, folder=path.parent)

    assert options == Options(
        config=path,
        database_url="postgresql://db/howdah",
        roles=frozenset({"worker", "ingress"}),
        processes=4,
        max_resident=7,
        lease=3 * SECOND,
        body_bytes_max=2048,
        value_bytes_max=1 << 20,
        allow_unsafe_postgres=True,
        postgres_account="1000",
        data_dir=Path("/srv/howdah"),
    )


def test_without_a_file_there_are_the_defaults(tmp_path: Path) -> None:
    assert read_options({}, folder=tmp_path) == Options()


def test_a_flag_goes_before_a_variable_and_a_variable_before_the_file(write: Write) -> None:
    folder = write("lease = '3s'\npoll_interval = '3s'\nprocesses = 3\nmax_resident = 3").parent
    variables = {"HOWDAH_LEASE": "2s", "HOWDAH_PROCESSES": "2", "HOWDAH_POLL_INTERVAL": ""}

    options = read_options(variables, {"processes": "1", "max_resident": None}, folder)

    assert options.processes == 1
    assert options.lease == 2 * SECOND
    assert (options.poll_interval, options.max_resident) == (3 * SECOND, 3)


@pytest.mark.parametrize(
    ("environ", "flags"),
    [
        ({"HOWDAH_CONFIG": "{}"}, {}),
        ({}, {"config": "{}"}),
        ({"HOWDAH_CONFIG": "/nowhere"}, {"config": "{}"}),
    ],
)
def test_a_named_file_is_read_instead(
    write: Write, environ: dict[str, str], flags: dict[str, str], tmp_path: Path
) -> None:
    write("processes = 3")
    other = tmp_path / "other.toml"
    other.write_text("processes = 5")
    variables, given = (
        {name: text.format(other) for name, text in texts.items()} for texts in (environ, flags)
    )

    options = read_options(variables, given, tmp_path)

    assert (options.processes, options.config) == (5, other)


def test_a_named_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"--config is nowhere.toml, where there is no file"):
        read_options({}, {"config": "nowhere.toml"})
    with pytest.raises(InvalidOption, match=r"HOWDAH_CONFIG is .*, where there is no file"):
        read_options({"HOWDAH_CONFIG": str(tmp_path)})


def test_a_file_that_cannot_be_read_is_refused(write: Write) -> None:
    assert "howdah.toml is not TOML: " in refusal(write("lease = 3s"))
    assert "line 2" in refusal(write("processes = 1\nlease =\n"))
    path = write("")
    path.write_bytes(b"lease = '\xff'")
    assert "is not UTF-8" in refusal(path)
    path.unlink()
    assert "cannot be read: No such file" in refusal(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "\nleas = '1s'",
            "howdah.toml, line 2: leas is not an option of howdah. Did you mean lease?",
        ),
        ("zzz = 1", "zzz is not an option of howdah. docs/configuration.md lists them."),
        ("config = 'x'", "line 1: config is not an option of howdah"),
        ("[howdah]\nlease = '5s'", "howdah.toml, line 1: howdah is not an option"),
        ("[service.A]", "Did you mean services?"),
        ("ingress_private = true", "It belongs to a service: write it under [services.NAME]."),
        ("lease = 10", 'line 1: lease is 10, but must be a text with a unit, such as "10s"'),
        ("lease = '10'", "lease cannot be read: '10' is not a duration"),
        ("lease = '1s'", "line 1: lease is 1s, but must be 2s to 10m"),
        ("lease = ''", 'lease is "", but must be a text with a unit'),
        ("processes = 1.5", "processes is 1.5, but must be a whole number"),
        ("processes = true", "processes is true, but must be a whole number"),
        ("processes = -1", "'-1' is not a whole number"),
        ("processes = 0", "processes is 0, but must be 1 to 256"),
        ("body_bytes_max = 1.5", "but must be a number of bytes, or a text such as"),
        ("allow_unsafe_postgres = 1", "is 1, but must be true or false"),
        ("roles = 5", 'is 5, but must be a list of texts, such as ["ingress", "worker"]'),
        ("roles = []", "roles is a list, but must be a list of texts"),
        ("roles = [5]", "roles is a list, but must be a list of texts"),
        ("roles = ['workers']", "Did you mean worker?"),
        ("ingress = 8080", 'ingress is 8080, but must be a text, such as "127.0.0.1:8080"'),
        ("data_dir = 2020-01-01", "data_dir is 2020-01-01, but must be a text"),
        ("[lease]", "line 1: lease is a table, but must be a text with a unit"),
        ("services = 5", "services is 5, but must be a table, such as [services]"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_with_its_line(
    write: Write, text: str, said: str
) -> None:
    assert said in refusal(write(text))


# --- services and handlers -----------------------------------------------------------------------


def program() -> list[AnyService]:
    """One service of each kind."""
    shop, seats, signup = Service("Shop"), VirtualObject("Seats"), Workflow("Signup")

    @shop.handler(abort_timeout=3 * SECOND)
    async def add(ctx: Any) -> None: ...

    @seats.handler()
    def reserve(ctx: Any) -> None: ...

    @signup.main()
    async def run(ctx: Any) -> None: ...

    @signup.handler()
    async def click(ctx: Any) -> None: ...

    return [shop, seats, signup]


def test_what_a_file_says_of_services_goes_before_the_program(write: Write) -> None:
    shop, seats, signup = services = program()
    config = read_config(
        write(
            """
            [services.Shop]
            abort_timeout = "9s"
            journal_retention = "0s"
            invocation_retry_policy = { max_attempts = 5, on_max_attempts = "kill" }
            [services.Shop.handlers.add]
            inactivity_timeout = "PT1M"
            [services.Shop.handlers.add.invocation_retry_policy]
            max_attempts = 2
            exponentiation_factor = 3
            [services.Seats]
            state_preload = ["one"]
            ingress_private = true
            [services."Signup".handlers]
            run.workflow_retention = "30d"
            click = { enable_lazy_state = true }
            """
        )
    )

    assert config.apply(services) == []

    options = shop.handlers["add"].options
    assert options.abort_timeout == 3 * SECOND  # a handler's own value goes before its service's
    assert options.inactivity_timeout == 60 * SECOND
    assert options.journal_retention == timedelta(0)
    assert shop.handlers["add"].retry_policy.max_attempts == 2
    assert shop.handlers["add"].retry_policy.exponentiation_factor == 3.0
    assert shop.handlers["add"].retry_policy.on_max_attempts == "kill"
    assert seats.handlers["reserve"].options.preloads == ("one",)
    assert seats.handlers["reserve"].options.ingress_private
    assert handler_of(seats.handlers["reserve"].fn) is seats.handlers["reserve"]
    assert signup.handlers["run"].options.workflow_retention == timedelta(days=30)
    assert signup.handlers["click"].options.preloads is False


def test_a_service_that_is_not_served_is_worth_a_remark(write: Write) -> None:
    config = read_config(write("[services.Shopp]\n[services.Elsewhere]\n[services.Seats]"))

    assert config.apply(program()) == [
        "howdah.toml says something of Shopp, which is not served here. Did you mean Shop?",
        "howdah.toml says something of Elsewhere, which is not served here.",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("abort_timout = '1s'", "line 2: services.Shop.abort_timout is not an option of a service."),
        ("abort_timout = '1s'", "Did you mean abort_timeout?"),
        ("handler = 1", "Did you mean handlers?"),
        ("zzz = 1", "Known are inactivity_timeout, abort_timeout"),
        ("lease = '5s'", "Options of howdah stand above the first [services...]."),
        ("abort_timeout = 5", "line 2: services.Shop.abort_timeout is 5, but must be a text with"),
        ("abort_timeout = '2d'", "but must be 0s to 1d"),
        ("abort_timeout = '5'", "'5' is not a duration"),
        ("ingress_private = 'yes'", 'is "yes", but must be true or false'),
        ("state_preload = 'name'", "but must be true, false or a list of state names"),
        ("state_preload = [1]", "but must be True, False or a list of state names"),
        ("handlers = 1", "handlers is 1, but must be a table, such as [services.Shop.handlers]"),
        ("handlers.add = 1", "such as [services.Shop.handlers.add]"),
        ("handlers.add.handlers = 1", "is not an option of a handler"),
        ("handlers.add.abort_timeout = 1", "line 2: services.Shop.handlers.add.abort_timeout is 1"),
        ("invocation_retry_policy = 1", "must be a table"),
        ("invocation_retry_policy.attempts = 1", "Did you mean max_attempts?"),
        ("invocation_retry_policy.x = 1", "Known are initial_interval"),
        ("invocation_retry_policy.max_attempts = true", "but must be a whole number, 1 or more"),
        ("invocation_retry_policy.max_attempts = -1", "but must be 1 or more"),
        ("invocation_retry_policy.exponentiation_factor = 'x'", "must be a number, 1 or more"),
        ("invocation_retry_policy.exponentiation_factor = nan", "but must be 1 or more"),
        ("invocation_retry_policy.on_max_attempts = 'stop'", "but must be 'pause' or 'kill'"),
        ("invocation_retry_policy.on_max_attempts = 1", "but must be 'pause' or 'kill'"),
        ("invocation_retry_policy = { initial_interval = '2s', max_interval = '1s' }",
         "line 2: services.Shop.invocation_retry_policy cannot be used: max_interval is 1s"),
    ],
)  # fmt: skip
def test_what_a_service_cannot_be_told_is_refused_with_its_line(
    write: Write, text: str, said: str
) -> None:
    assert said in refusal(write(f"[services.Shop]\n{text}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[services.Shop.handlers.ad]", "services.Shop.handlers.ad is no handler of Shop. Did you mean"),
        ("[services.Shop.handlers.zzz]", "services.Shop.handlers.zzz is no handler of Shop."),
        ("[services.Shop]\nstate_preload = true", "cannot be given: a service has no state"),
        ("[services.Shop]\nenable_lazy_state = true", "cannot be given: a service has no state"),
        ("[services.Seats]\nworkflow_retention = '1s'", "cannot be given: only a workflow has it"),
        ("[services.Signup.handlers.click]\nworkflow_retention = '1s'", "only the main handler has it"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_program_is_refused(write: Write, text: str, said: str) -> None:
    config = read_config(write(text))

    with pytest.raises(InvalidOption) as caught:
        config.apply(program())
    assert said in str(caught.value)


def test_a_value_that_does_not_fit_the_programs_own_is_refused() -> None:
    shop = Service("Shop")

    @shop.handler(invocation_retry_policy=InvocationRetryPolicy(initial_interval=9 * SECOND))
    async def add(ctx: Any) -> None: ...

    options = HandlerOptions(invocation_retry_policy=InvocationRetryPolicy(max_interval=SECOND))
    config = Config(Path("howdah.toml"), services={"Shop": ServiceConfig(options)})
    with pytest.raises(
        InvalidOption, match=r"services.Shop does not fit the program: max_interval"
    ):
        config.apply([shop])


# --- every file ----------------------------------------------------------------------------------


TEXTS = st.lists(
    st.sampled_from(
        [*"[]{}=.,#\"'\n", "services", "Shop", "handlers", "lease", "'5s'", "1", "true"]
    )
    | st.text(max_size=3)
)


@given(st.builds("".join, TEXTS))
def test_any_text_is_a_file_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        assert read_config(path).path == path
    except InvalidOption:
        pass


def test_the_example_holds_every_option_at_its_default() -> None:
    example = DOCS / "howdah.toml"

    config = read_config(example)

    commented = {
        line.removeprefix("# ").partition(" = ")[0]
        for line in example.read_text().splitlines()
        if line.startswith("# ") and " = " in line
    }
    defaults = Options()
    for option in fields(Options):
        key = knob_of(option).env.removeprefix("HOWDAH_").lower()
        if option.name == "config":
            assert key not in commented
        elif option.name in config.options:
            assert config.options[option.name] == getattr(defaults, option.name)
        else:
            assert key in commented
    said = config.services["CartObject"]
    assert set(config.services) == {"CartObject", "Signup"}
    assert said.handlers["checkout"].state_preload == ("tickets",)


def test_the_example_on_the_page_can_be_read(write: Write) -> None:
    page = (DOCS / "configuration.md").read_text()
    [text] = [part.partition("```")[0] for part in page.split("```toml\n")[1:]]

    config = read_config(write(text))

    assert config.options["processes"] == 4
    assert config.services["CartObject"].handlers["checkout"].ingress_private


# --- the command line ----------------------------------------------------------------------------

PROGRAM = """
from howdah import Service
shop = Service("Shop")

@shop.handler()
async def add(ctx): ...
"""


def said_by(*arguments: str | Path) -> str:
    """What the command line answers to something that it refuses."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 2, done.output
    return done.output


def test_serve_reads_the_file_that_it_is_given(write: Write, tmp_path: Path) -> None:
    program = tmp_path / "toml_shop.py"
    program.write_text(PROGRAM)

    said = said_by("serve", program, "--config", write("[services.Shop.handlers.addd]"))
    assert said == (
        "howdah: howdah.toml: services.Shop.handlers.addd is no handler of Shop."
        " Did you mean add? [HD1020]\n"
    )
    said = said_by("serve", program, "--config", write("lease = 5"))
    assert said.startswith("howdah: howdah.toml, line 1: lease is 5, but must be a text")


def test_every_command_that_uses_a_database_reads_the_file(write: Write) -> None:
    path = write("leas = '5s'")

    for command in (["migrate"], ["sql", "select 1"], ["check"], ["dev", "shop.py"]):
        assert "Did you mean lease?" in said_by(*command, "--config", path)


def test_a_workflow_without_a_main_handler_is_not_served(tmp_path: Path) -> None:
    program = tmp_path / "toml_signup.py"
    program.write_text("from howdah import Workflow\nsignup = Workflow('Signup')\n")

    assert "has no main handler" in said_by("serve", program)
