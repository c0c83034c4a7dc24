"""Nothing is left out: hooks are used and documented, plugins packaged, the pages of reference current."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from pytest_testlab import hookspecs
from pytest_testlab.plugins import offers, plugin_manager

ROOT = Path(__file__).resolve().parents[2]
HOOKS = [name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("testlab_")]


def test_the_reference_is_current() -> None:
    """The pages made from the code say what the code says."""
    command = [sys.executable, str(ROOT / "scripts" / "reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_tested(hook: str) -> None:
    """Some test implements or calls each hook."""
    tests = (file.read_text() for file in (ROOT / "tests").rglob("*.py") if file != Path(__file__))
    assert any(hook in text for text in tests)


def test_the_built_ins_come_through_the_hooks() -> None:
    """The names that users know are offered, each by a plugin."""
    hook = plugin_manager().hook
    assert {"local", "memory", "ssh"} <= set(offers(hook.testlab_providers()))
    assert {"procfile", "memory"} <= set(offers(hook.testlab_platforms()))


def test_the_engine_knows_no_plugin() -> None:
    """No module of the engine names the server or a plugin."""
    for file in (ROOT / "pytest_testlab").rglob("*.py"):
        text = file.read_text()
        assert "testlab_server" not in text, file
        assert "testlab_local" not in text.replace("testlab_local_", ""), file
        assert "testlab_ssh" not in text, file


def test_every_plugin_is_packaged() -> None:
    """Each folder of plugins/ is in the wheel and has an entry point."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    packages = build["targets"]["wheel"]["packages"]
    points = {point.value.partition(".")[0] for point in entry_points(group="testlab")}
    for folder in (ROOT / "plugins").iterdir():
        if (folder / "__init__.py").is_file():
            assert f"plugins/{folder.name}" in packages
            assert folder.name in points


def test_the_versions_page_says_what_is_required() -> None:
    """The bounds that users read are those that pip keeps."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "versions.md").read_text()
    bounds = dict(word.split(">=") for word in project["dependencies"] if word.startswith("pytest"))
    assert f"| Python | {project['requires-python'].removeprefix('>=')} and newer |" in page
    assert f"| pytest | {bounds['pytest']} and newer |" in page
    assert f"| pytest-xdist | {bounds['pytest-xdist']} and newer |" in page


@pytest.mark.parametrize(
    "page", [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"], ids=lambda path: path.name
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A page that moved takes its links along."""
    for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text()):
        assert (page.parent / link).exists(), link
