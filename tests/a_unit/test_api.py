"""The Python API: its names and signatures are kept, and importing the package costs nothing."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_testlab
from pytest_testlab.errors import CatalogError
from pytest_testlab.options import OPTIONS

PINNED = {
    "scan": "(*paths: 'PathLike') -> 'list[Entry]'",
    "run": (
        "(*paths: 'PathLike', pool: 'int' = 1, provider: 'str | None' = None, platform: 'str | None' = None,"
        " image: 'str | None' = None, suite: 'Sequence[str]' = (), priority: 'Sequence[str]' = (),"
        " budget: 'str | None' = None, branch: 'str | None' = None, arguments: 'Sequence[str]' = (),"
        " timeout_s: 'float | None' = None, db: 'str | None' = None, home: 'PathLike | None' = None) -> 'RunResult'"
    ),
    "collect": (
        "(server: 'SshAddress | Target', *, secrets: 'Iterable[str]' = (), within_s: 'float' = 20.0) -> 'Bundle'"
    ),
    "query": "(*, db: 'str | None' = None, home: 'PathLike | None' = None) -> 'Iterator[Query]'",
    "Query.runs": "(self, *, limit: 'int' = 20, mode: 'str | None' = None) -> 'list[RunView]'",
    "Query.run": "(self, run: 'str' = 'latest') -> 'RunView | None'",
    "Query.results": "(self, run: 'str' = 'latest') -> 'list[ResultView]'",
    "Query.diff": "(self, run: 'str | None' = None) -> 'DiffView | None'",
    "Query.why": (
        "(self, test: 'str', *, run: 'str | None' = None, attempt: 'int | None' = None) -> 'AttemptView | None'"
    ),
    "Query.section": (
        "(self, test: 'str', name: 'str', *, run: 'str | None' = None, attempt: 'int | None' = None) -> 'bytes | None'"
    ),
    "Query.history": "(self, test: 'str', *, lane: 'str | None' = None) -> 'TestView | None'",
}
"""What callers rely on. A new keyword with a default is welcome here; anything else is a new major version."""


def signatures() -> dict[str, str]:
    """Every public function and method, as it is."""
    found = {}
    for name in pytest_testlab.__all__:
        thing = getattr(pytest_testlab, name)
        if inspect.isfunction(thing):
            found[name] = str(inspect.signature(thing))
        elif name == "Query":
            methods = inspect.getmembers(thing, inspect.isfunction)
            found |= {f"Query.{key}": str(inspect.signature(method)) for key, method in methods if key[0] != "_"}
    return found


def test_signatures_are_kept() -> None:
    """Nothing that a caller may rely on changes unnoticed."""
    assert signatures() == PINNED


def test_the_result_of_a_run_is_kept() -> None:
    """Its fields and properties are there under these names."""
    result = pytest_testlab.RunResult
    assert list(result.__dataclass_fields__) == ["run", "results", "exit_code", "output"]
    assert {name for name, _ in inspect.getmembers(result, lambda part: isinstance(part, property))} == {
        "ok",
        "failures",
    }


def test_options_are_the_command_lines() -> None:
    """A keyword of `run` that is an option is called as its flag is."""
    flags = {option.name for option in OPTIONS}
    own = {"paths", "arguments", "timeout_s"}
    assert set(inspect.signature(pytest_testlab.run).parameters) - own <= flags


def test_importing_costs_nothing() -> None:
    """`import pytest_testlab` reads nothing but `typing`: no other module of its own, nor what those need."""
    code = "import sys, typing; before = set(sys.modules); import pytest_testlab; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert set(done.stdout.split()) == {"pytest_testlab", "__future__"}


def test_unknown_names_are_errors() -> None:
    """As of any module; `dir` has the API's."""
    with pytest.raises(AttributeError, match="module 'pytest_testlab' has no attribute 'scna'"):
        _ = pytest_testlab.scna  # type: ignore[attr-defined]
    assert set(pytest_testlab.__all__) <= set(dir(pytest_testlab))


def test_scan_reads_a_catalog(tmp_path: Path) -> None:
    """Entries by path, from folders or single files."""
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "testlab.toml").write_text(f'[app]\nname = "{name}"\n[run]\ncommand = "true"\n')
    assert [entry.name for entry in pytest_testlab.scan(tmp_path)] == ["a", "b"]
    assert [entry.name for entry in pytest_testlab.scan(str(tmp_path / "b" / "testlab.toml"))] == ["b"]


def test_scan_tells_all_problems(tmp_path: Path) -> None:
    """One error has every problem of every file, as data."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "testlab.toml").write_text(f'[app]\nname = "{name}"\nprio = 1\n[run]\ncommand = 1\n')
    with pytest.raises(CatalogError) as caught:
        pytest_testlab.scan(tmp_path)
    assert [(problem.file.parent.name, problem.key, problem.line) for problem in caught.value.problems] == [
        ("a", "app.prio", 3),
        ("a", "run.command", 5),
        ("b", "app.prio", 3),
        ("b", "run.command", 5),
    ]
