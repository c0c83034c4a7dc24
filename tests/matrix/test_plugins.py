"""The lab beside the plugins that people have, each of them at work: with one target and with two.

pytest-playwright has sessions of its own, because it and pytest-asyncio don't go together in any session: Playwright's
synchronous fixtures leave a loop running in the process.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matrix import OUTCOMES, SECRET, Catalog, Session

from pytest_testlab.store.embedded import StoreHandle

BESIDE = """
import asyncio
import pathlib
import time

import measured
import pytest


def test_plain():
    assert measured.used() == 1


async def test_asyncio():
    await asyncio.sleep(0)


@pytest.fixture(scope="session")
async def loop_of_the_session():
    yield asyncio.get_running_loop()


@pytest.mark.asyncio(loop_scope="session")
async def test_asyncio_session(loop_of_the_session):
    await asyncio.sleep(0)


def test_passes_when_rerun():
    first = pathlib.Path("was-here")
    known = first.exists()
    first.touch()
    assert known


@pytest.mark.timeout(1)
@pytest.mark.flaky(reruns=0)
def test_too_slow():
    time.sleep(60)
"""
MEASURED = "def used():\n    return 1\n\n\ndef unused():\n    return 2\n"
QUIET = ("-o", "asyncio_default_fixture_loop_scope=session")
"""pytest-asyncio warns of whoever doesn't say."""
AT_WORK = (
    *("--timeout", "1", "--reruns", "1", "--randomly-seed", "7", "-o", "asyncio_mode=auto", *QUIET),
    *("--html", "report.html", "--self-contained-html", "--alluredir", "allure", "--junitxml", "junit.xml"),
    *("--cov", "measured", "--cov-report", "json:coverage.json"),
)
PLAIN = ("test_plain", "test_asyncio", "test_asyncio_session", "test_passes_when_rerun", "test_too_slow")
LIMIT = "pytestmark = pytest.mark.timeout(60)\n"
"""Of the plain tests: --timeout is as short as it is for the catalog's, which must not mind."""


@pytest.fixture(scope="module", params=[1, 2], ids=["one-target", "two-targets"])
def pool(request: pytest.FixtureRequest) -> int:
    """How many targets."""
    return int(request.param)


@pytest.fixture(scope="module")
def night(pool: int, tmp_path_factory: pytest.TempPathFactory, store: StoreHandle) -> Session:
    """A night with all plugins at work but Playwright's."""
    files = {"test_beside.py": f"{BESIDE}\n\n{LIMIT}", "measured.py": MEASURED}
    catalog = Catalog(folder=tmp_path_factory.mktemp("night"), store=store, files=files).write()
    return catalog.run(*AT_WORK, pool=pool)


def junit(session: Session) -> dict[str, str]:
    """What JUnit's report says of each test: `passed`, or the tag of what else it was."""
    cases = ElementTree.parse(session.folder / "junit.xml").getroot().iter("testcase")  # noqa: S314  our own
    return {case.get("name", ""): next((part.tag for part in case), "passed") for case in cases}


def test_outcomes(night: Session) -> None:
    """Every outcome is what it is without them; of a test beside the catalog too."""
    assert night.statuses == OUTCOMES, night.output
    assert night.exit_code == 1
    assert night.run.state == "finished"
    assert "INTERNALERROR" not in night.output
    plain = {name: said for name, said in junit(night).items() if name in PLAIN}
    assert plain == {**dict.fromkeys(PLAIN, "passed"), "test_too_slow": "failure"}


def test_nothing_of_the_lab_warns(night: Session) -> None:
    """No warning comes from the lab; other plugins' own are theirs."""
    warned = re.findall(r"^\s+(\S+\.py):\d+: \w*Warning", night.output, re.MULTILINE)
    assert [file for file in warned if "testlab" in file] == []


def test_timeout(night: Session) -> None:
    """pytest-timeout cuts a plain test; one of the catalog has its entry's `timeout`, and is left alone."""
    assert "Timeout (>1.0s) from pytest-timeout" in night.output
    slow = next(result for result in night.results if (result.entry, result.stage) == ("slow", "install"))
    assert (slow.status, slow.attempt) == ("passed", 1)
    assert slow.duration_s is not None
    assert slow.duration_s > 1


def test_rerunfailures(night: Session) -> None:
    """A plain test that failed is run again; one of the catalog isn't: what it failed on is still there."""
    assert re.search(r"\b1 rerun\b", night.output), night.output
    assert {result.attempt for result in night.results if result.started_at is not None} == {1}


def test_randomly(night: Session, pool: int) -> None:
    """Units are shuffled, and each one's tests stay together and in order; workers agree on what they collected."""
    assert "collected other tests" not in night.output
    if pool == 1:  # with more the plan decides on the order
        units = [test.partition("::")[0] for test in night.order[::2]]
        assert night.order == [f"{unit}::{stage}" for unit in units for stage in ("install", "check")]
        assert units != sorted(units)


def test_html(night: Session) -> None:
    """pytest-html's report has the outcome and the headline of each test, and no secret."""
    text = (night.folder / "report.html").read_text()
    assert "expected exit code 0, got exit code 1" in text
    assert "build command ended with exit code 3" in text
    assert all(f"catalog/{name.replace('::', '/testlab.toml::')}" in text for name in OUTCOMES)
    assert SECRET not in text


def test_allure(night: Session) -> None:
    """Allure's results have the outcome and the headline of each test, and no secret."""
    assert not any(SECRET in file.read_text() for file in (night.folder / "allure").iterdir())
    found = [json.loads(file.read_text()) for file in (night.folder / "allure").glob("*-result.json")]
    statuses = {result["fullName"]: result["status"] for result in found}
    in_allure = {"blocked": "skipped"}
    assert {name: said for name, said in statuses.items() if name.startswith("catalog.")} == {
        f"catalog.{test.replace('::', '.testlab#')}": in_allure.get(said, said) for test, said in OUTCOMES.items()
    }
    details = next(result["statusDetails"] for result in found if result["fullName"] == "catalog.bad.testlab#check")
    assert "check-failed: check 1 (the sum): expected exit code 0, got exit code 1" in details["message"]


def test_cov(night: Session) -> None:
    """pytest-cov measures what ran, wherever it ran."""
    measured = json.loads((night.folder / "coverage.json").read_text())["files"]["measured.py"]
    assert measured["executed_lines"] == [1, 2, 5]
    assert measured["missing_lines"] == [6]


PAGE = """
def test_page(page):
    page.set_content("<h1>hello</h1>")
    assert page.locator("h1").inner_text() == "hello"


def test_another_page(page):
    assert page.url == "about:blank"
"""
BROWSER = """
import os
import shutil

import pytest


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return {**browser_type_launch_args, "executable_path": shutil.which("chromium"), "args": arguments}
"""


def test_playwright(pool: int, tmp_path: Path, store: StoreHandle) -> None:
    """Its fixtures serve plain tests beside the catalog, and the browser outlives the catalog's tests between them."""
    files = {"test_page.py": PAGE, "conftest.py": BROWSER}
    catalog = Catalog(folder=tmp_path, store=store, files=files).write()
    session = catalog.run("--junitxml", "junit.xml", *QUIET, pool=pool)
    assert session.statuses == OUTCOMES, session.output
    pages = {name: said for name, said in junit(session).items() if "page" in name}
    assert pages == {"test_page[chromium]": "passed", "test_another_page[chromium]": "passed"}, session.output


KILLS = """
import os
import pathlib
import signal

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    mark = pathlib.Path("was-here")
    if "good" in item.nodeid and item.name == "check" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""
KILLER = """
import os
import signal


def test_kills_its_worker():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_that_dies_under_rerunfailures(tmp_path: Path, store: StoreHandle) -> None:
    """With --reruns too a dead worker costs nothing but its test's first attempt; a plain test that kills is told."""
    files = {"test_killer.py": KILLER, "conftest.py": KILLS}
    session = Catalog(folder=tmp_path, store=store, files=files).write().run("--reruns", "1", *QUIET, pool=2)
    assert "INTERNALERROR" not in session.output, session.output
    assert session.statuses == {**OUTCOMES, "good::check": "flaky"}, session.output
    assert "test_kills_its_worker" in session.output
    assert (session.exit_code, session.run.state) == (1, "finished")
