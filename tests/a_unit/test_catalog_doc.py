"""The reference page of testlab.toml against the format itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_testlab.catalog import schema, values
from pytest_testlab.catalog.read import read_entry
from pytest_testlab.model import FailureClass

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "testlab-toml.md").read_text()
EXAMPLES = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def keys_of_the_section(title: str) -> set[str]:
    """The keys in the tables of one section."""
    section = PAGE.split(f"# {title}\n", 1)[1]
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_is_an_entry(tmp_path: Path, example: str) -> None:
    """What the page shows can be copied as it is."""
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "event.py").write_text("")
    (tmp_path / "testlab.toml").write_text(example)
    read_entry(tmp_path / "testlab.toml")


def test_there_are_examples() -> None:
    """The page's examples are found by this test."""
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize(
    ("title", "keys"),
    [
        ("[app] or [demo]", set(schema.HEADER)),
        ("[build]", set(schema.BUILD)),
        ("[run]", set(schema.RUN)),
        ("[[checks]]", {"name", "within"}),
        *((kind, set(keys) - {"name", "within"}) for kind, keys in schema.CHECKS.items()),
    ],
)
def test_every_key_is_in_its_table(title: str, keys: set[str]) -> None:
    """The page's tables hold the format's keys, and no others."""
    assert keys_of_the_section(title) == keys


def test_every_word_is_named() -> None:
    """Tables, reserved variables, addons and the classes that can be expected are all on the page."""
    classes = {kind.value for kind in FailureClass}
    words = {*schema.READY, *values.RESERVED_ENV, *schema.ADDONS, *classes}
    assert {word for word in words if not re.search(rf'`"?{re.escape(word)}"?`', PAGE)} == set()
    assert {table for table in schema.TABLES if f"[{table}]" not in PAGE} == set()
