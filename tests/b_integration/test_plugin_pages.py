"""The guide's page on plugins is right: its blocks of code are run as they stand."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from inventories import sshds
from sessions import LabSession
from tools import ALONE
from vm import write_vm

from pytest_testlab.store.embedded import StoreHandle

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "plugins.md"
BLOCKS = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
PROVIDER, SUITE, REST = (text for _, text in BLOCKS)
MIRROR = """
[build]
commands = ["echo 'GET http://mirror.example.org: 503 for badge-123456'; exit 1"]

[run]
command = "true"
"""
BRANDED = """
[run]
static = "."

[[checks]]
command = 'test "$BRAND" = acme'
"""


@pytest.fixture
def lab(pytester: pytest.Pytester, store: StoreHandle, monkeypatch: pytest.MonkeyPatch, lab_home: Path) -> LabSession:
    monkeypatch.setenv("TESTLAB_DATABASE_URL", store.url)
    monkeypatch.setenv("TESTLAB_HOME", str(lab_home))
    return LabSession(pytester, store)


@pytest.fixture
def vm(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command that the page's provider calls."""
    folder = pytester.mkdir("bin")
    with sshds(3) as servers:
        for server in servers:
            server.stop()
        write_vm(folder, servers)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        yield
        for name in json.loads(subprocess.check_output(["vm", "list"], timeout=60)):
            subprocess.run(["vm", "down", name], check=True, capture_output=True, timeout=60)


def test_the_page_holds_what_is_tested() -> None:
    """A provider, the suite over it, and the rest, each for the file that it names."""
    assert [name for name, _ in BLOCKS] == ["conftest.py", "test_vm.py", "conftest.py"]


def test_a_provider_takes_fewer_than_40_lines() -> None:
    """Imports, blank lines and the hook included."""
    assert PROVIDER.count("\n") < 40


@pytest.mark.usefixtures("vm")
def test_the_provider_serves_a_session(lab: LabSession, pytester: pytest.Pytester) -> None:
    """Two targets, from a conftest.py alone; what it made is gone afterwards."""
    (pytester.path / "conftest.py").write_text(PROVIDER)
    for name in ("alpha", "beta", "gamma"):
        lab.entry(name, '[run]\ncommand = "true"\n')
    result = lab.run("--testlab-platform", "memory", pool=2, provider="vm")
    assert result.ret == 0, result.stdout.str()
    assert lab.latest().provider == "vm"
    assert pytester.run("vm", "list").outlines == ["{}"]


@pytest.mark.usefixtures("vm")
def test_the_provider_keeps_its_promises(pytester: pytest.Pytester) -> None:
    """A few of the suite's tests, inherited as the page does it."""
    (pytester.path / "conftest.py").write_text(PROVIDER)
    (pytester.path / "test_vm.py").write_text(SUITE)
    some = "may_be_repeated or leaves_no_file or not_there or a_worker"
    result = pytester.runpytest_subprocess("-k", some, "-p", "no:cacheprovider", *ALONE)
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] >= 6
    assert set(outcomes) <= {"passed", "skipped", "deselected"}


def test_a_section_a_rule_a_shape_and_a_platform(lab: LabSession, pytester: pytest.Pytester) -> None:
    """Each does what the page says of it, in one session on a target of this machine."""
    (pytester.path / "conftest.py").write_text(REST)
    lab.entry("alpha", BRANDED)
    lab.entry("beta", MIRROR)
    result = lab.run("--testlab-platform", "branded", provider="local")
    assert lab.statuses() | {"beta::check": "blocked"} == {
        "alpha::install": "passed",
        "alpha::check": "passed",
        "beta::install": "error",
        "beta::check": "blocked",
    }, result.stdout.str()
    result.stdout.fnmatch_lines(["*infra: our mirror answers 503"])
    kernel = lab.section("alpha/testlab.toml::install", 1, "kernel")
    assert kernel is not None
    assert b"Linux" in kernel
    build = lab.section("beta/testlab.toml::install", 2, "build")
    assert build is not None
    assert b"badge-[redacted]" in build
    assert b"123456" not in build
