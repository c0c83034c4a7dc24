"""Other plugins' hands on the catalog's tests, with stand-ins for them; `make matrix` has the real ones."""

from __future__ import annotations

import pytest

REVERSES = """
def pytest_collection_modifyitems(items):
    items.reverse()
"""
LOOKS = """
import pathlib

import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config):
    pathlib.Path("workers").write_text(str(early_config.known_args_namespace.numprocesses))
"""


@pytest.fixture
def catalog(pytester: pytest.Pytester) -> pytest.Pytester:
    """Two entries, and a plain test beside them."""
    for name in ("a", "b"):
        folder = pytester.mkdir(name)
        (folder / "testlab.toml").write_text(f'[app]\nname = "{name}"\n[run]\ncommand = "true"\n')
    pytester.makepyfile(test_plain="def test_one(): pass\n\ndef test_two(): pass\n")
    return pytester


def collected(catalog: pytest.Pytester, *arguments: str) -> list[str]:
    """The ids that a session would run, in its order."""
    result = catalog.runpytest_inprocess("--testlab-provider", "memory", "--co", "-q", "-p", "no:randomly", *arguments)
    return [line for line in result.outlines if "::" in line]


def test_a_shuffler_moves_units(catalog: pytest.Pytester) -> None:
    """Whoever reorders tests reorders units: within one `install` stays before `check`, and nothing between them."""
    as_is = collected(catalog)
    catalog.makeconftest(REVERSES)
    assert as_is == [
        *("a/testlab.toml::install", "a/testlab.toml::check"),
        *("b/testlab.toml::install", "b/testlab.toml::check"),
        *("test_plain.py::test_one", "test_plain.py::test_two"),
    ]
    assert collected(catalog) == [
        *("test_plain.py::test_two", "test_plain.py::test_one"),
        *("b/testlab.toml::install", "b/testlab.toml::check"),
        *("a/testlab.toml::install", "a/testlab.toml::check"),
    ]


def test_a_part_of_a_unit_is_left_in_place(catalog: pytest.Pytester) -> None:
    """What was deselected stays out, whatever is reordered."""
    catalog.makeconftest(REVERSES)
    assert collected(catalog, "-k", "check") == ["b/testlab.toml::check", "a/testlab.toml::check"]


@pytest.mark.parametrize(("arguments", "workers"), [((), "None"), (("--testlab-pool", "2"), "2")])
def test_workers_are_told_of_early(catalog: pytest.Pytester, arguments: tuple[str, ...], workers: str) -> None:
    """Who asks while the arguments are first read, as pytest-cov does, learns how many workers there will be."""
    catalog.makepyfile(looks=LOOKS)
    catalog.runpytest_subprocess("-p", "looks", "--testlab-provider", "memory", "--co", *arguments)
    assert (catalog.path / "workers").read_text() == workers


def test_nobody_is_told_without_the_lab(catalog: pytest.Pytester) -> None:
    """A session that didn't ask for the lab is left alone."""
    catalog.makepyfile(looks=LOOKS)
    catalog.runpytest_subprocess("-p", "looks", "--co")
    assert (catalog.path / "workers").read_text() == "None"
