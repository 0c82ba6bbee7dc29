"""docs/faults.md names tests that there are."""

import re

import pytest

from support.pages import DOCS

PAGE = DOCS / "faults.md"
NAMED: list[tuple[str, str]] = re.findall(r"\[\w+\.py::(\w+)\]\(([^)]+)\)", PAGE.read_text())


@pytest.mark.parametrize(("name", "path"), NAMED)
def test_a_named_test_is_in_its_file(name: str, path: str) -> None:
    file = (DOCS / path).resolve()
    assert f"def {name}(" in file.read_text()


def test_every_row_has_a_test_or_says_that_it_has_none() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| What goes wrong")]
    assert len(rows) > 30
    for row in rows:
        forced = row.split(" | ")[-1]
        assert "::" in forced or forced.startswith("not forced"), row
