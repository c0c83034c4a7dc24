"""The example catalog and the demo that plays it."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pytest_testlab.catalog.scan import scan
from pytest_testlab.model import FailureClass, Stage, Status

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("examples_demo", EXAMPLES / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("night", [1, 2])
def test_each_test_has_an_expectation(demo: ModuleType, night: int, tmp_path: Path) -> None:
    """On each night the catalog is sound, and expected.toml names just its tests."""
    work = demo.lay_out(tmp_path, night)
    catalog = scan(work)
    catalog.require_sound()
    tests = {f"{entry.file.relative_to(work)}::{stage}" for entry in catalog.entries for stage in Stage}
    tests |= {f"{page.file.relative_to(work)}::tutorial" for page in demo.tutorials(work)}
    for file in work.glob("platform/test_*.py"):
        functions = (node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef))
        tests |= {f"{file.relative_to(work)}::{function.name}" for function in functions}
    expected = demo.expected_outcomes(EXAMPLES / "catalog" / "expected.toml", night)
    assert set(expected) == tests
    assert {outcome.status for outcome in expected.values()} <= set(Status)


def test_each_broken_folder_is_its_class(demo: ModuleType) -> None:
    """A folder of broken/ is named after the class that its app is expected to get, and expects no failure itself."""
    expected = demo.expected_outcomes(EXAMPLES / "catalog" / "expected.toml", 1)
    folders = {entry.folder.name: entry for entry in scan(EXAMPLES / "catalog" / "broken").entries}
    for name, entry in folders.items():
        classes = {expected[f"broken/{name}/testlab.toml::{stage}"].failure_class for stage in Stage} - {None}
        assert classes == {name}
        assert entry.expects_failure is None
    shown = "proxy-502 build-failure addon-unreachable app-crash timeout app-error check-failed"
    assert set(folders) == set(shown.split())
    assert set(folders) <= set(FailureClass)


def test_the_second_night_differs(demo: ModuleType) -> None:
    """On the second night one more app has broken and a broken one is mended; all else stays."""
    first, second = (demo.expected_outcomes(EXAMPLES / "catalog" / "expected.toml", night) for night in (1, 2))
    broken = {test for test in first if first[test].status == "passed" and second[test].status == "failed"}
    mended = {test for test in first if first[test].status == "failed" and second[test].status == "passed"}
    assert broken == {"apps/radicale/testlab.toml::install"}
    assert mended == {"broken/proxy-502/testlab.toml::install"}


def test_nights_alternate(demo: ModuleType, tmp_path: Path) -> None:
    """The second night follows the first, and the first the second or nothing."""
    assert demo.next_night(tmp_path) == 1
    for played, following in (("1", 2), ("2", 1), ("rubbish", 1)):
        (tmp_path / "night").write_text(played)
        assert demo.next_night(tmp_path) == following


def test_what_differs_is_unexpected(demo: ModuleType) -> None:
    """A wrong status, a wrong class, an absent test and an unknown one are each unexpected."""
    outcome = demo.Outcome
    expected = {
        "a::install": outcome(status="passed"),
        "b::install": outcome(status="failed", failure_class="timeout"),
        "c::install": outcome(status="passed"),
        "d::install": outcome(status="passed"),
    }
    got = {
        "a::install": outcome(status="failed", failure_class="timeout"),
        "b::install": outcome(status="failed", failure_class="infra"),
        "d::install": outcome(status="passed"),
        "e::install": outcome(status="passed"),
    }
    rows = demo.compare(expected, got, {})
    assert [row.test for row in rows if row.ok] == ["d::install"]
    assert len(rows) == 5


def test_only_a_missing_runtime_excuses(demo: ModuleType) -> None:
    """A skipped test is as expected only when the reason names a tool that its entry requires."""
    expected = {"a/testlab.toml::install": demo.Outcome(status="passed")}
    skipped = demo.Outcome(status="skipped", say="node is not on the target; install it there")
    for requires, excused in (
        ({"a/testlab.toml": ("node",)}, True),
        ({"a/testlab.toml": ("ruby",)}, False),
        ({}, False),
    ):
        (row,) = demo.compare(expected, {"a/testlab.toml::install": skipped}, requires)
        assert row.ok is row.excused is excused
