from pathlib import Path

import pytest

from howdah.errors import DuplicateName, UsageError
from howdah_api.modules import load_services, split_target, watched_folders

PROGRAM = """
from howdah import Context, Service

first = Service("First")
second = Service("Second")
both = [first, second]
number = 3

@first.handler()
async def greet(ctx: Context) -> str:
    return "hello"
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / f"program_{tmp_path.name}.py"
    path.write_text(PROGRAM)
    return path


@pytest.mark.parametrize(
    ("target", "split"),
    [
        ("pkg.mod", ("pkg.mod", None)),
        ("pkg.mod:attr", ("pkg.mod", "attr")),
        ("dir/file.py", ("dir/file.py", None)),
        ("dir/file.py:attr", ("dir/file.py", "attr")),
        ("C:/file.py", ("C:/file.py", None)),
    ],
)
def test_a_target_is_split_at_its_attribute(target: str, split: tuple[str, str | None]) -> None:
    assert split_target(target) == split


def test_every_service_of_a_file_is_found(program: Path) -> None:
    assert [service.name for service in load_services([str(program)])] == ["First", "Second"]


def test_an_attribute_names_one_service_or_a_list(program: Path) -> None:
    assert [service.name for service in load_services([f"{program}:second"])] == ["Second"]
    assert [service.name for service in load_services([f"{program}:both"])] == ["First", "Second"]


def test_a_service_that_is_named_twice_counts_once(program: Path) -> None:
    assert len(load_services([str(program), f"{program}:first"])) == 2


def test_two_services_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("one_of_two", "two_of_two"):
        (tmp_path / f"{name}.py").write_text("from howdah import Service\ns = Service('Same')\n")

    with pytest.raises(DuplicateName, match="Same"):
        load_services([str(tmp_path / "one_of_two.py"), str(tmp_path / "two_of_two.py")])


@pytest.mark.parametrize(
    ("suffix", "message"),
    [(":nothing", "has no 'nothing'"), (":number", "neither a service nor a list")],
)
def test_an_attribute_that_is_no_service_is_refused(
    program: Path, suffix: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load_services([f"{program}{suffix}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "defines no service"),
        ("1 +", "cannot be imported: SyntaxError"),
        ("\nraise ValueError('no')", r"cannot be imported: ValueError: no \(.*, line 2\)"),
        ("import nowhere_to_be_found", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_file_that_cannot_be_served_says_why(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken_program.py"
    path.write_text(text)

    with pytest.raises(UsageError, match=message):
        load_services([str(path)])


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="no module 'nowhere_to_be_found'"):
        load_services(["nowhere_to_be_found"])
    with pytest.raises(UsageError, match="no file"):
        load_services(["nowhere/to_be_found.py"])


def test_the_folders_of_a_program_are_watched(program: Path) -> None:
    assert watched_folders([f"{program}:first"]) == [program.parent]
