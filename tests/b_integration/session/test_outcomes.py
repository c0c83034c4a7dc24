"""What a session says to pytest and to the store is the same, with one target and with several."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from sessions import LabSession

BROKEN_BUILD = '[build]\ncommands = ["exit 3"]\n\n[run]\ncommand = "true"\n\n[[checks]]\ncommand = "true"\n'
BROKEN_CHECK = '[run]\ncommand = "true"\n\n[[checks]]\ncommand = "echo 2"\nstdout = "3"\n'


def fill(lab: LabSession) -> None:
    lab.entry("alpha")
    lab.entry("beta", BROKEN_BUILD)
    lab.entry("gamma", BROKEN_CHECK)


@pytest.mark.parametrize("pool", [1, 3])
def test_pytest_and_the_store_agree(lab: LabSession, pool: int) -> None:
    """Each outcome is counted once, by pytest and in the store, with its class; failures make exit code 1."""
    fill(lab)
    result = lab.run(pool=pool)
    result.stdout.fnmatch_lines(["*= 2 failed, 3 passed, 1 blocked in *"])
    assert result.ret == 1
    assert lab.statuses() == {
        "alpha::install": "passed",
        "alpha::check": "passed",
        "beta::install": "failed",
        "beta::check": "blocked",
        "gamma::install": "passed",
        "gamma::check": "failed",
    }
    classes = {r.entry: r.failure_class for r in lab.results().values() if r.failure_class}
    assert classes == {"beta": "build-failure", "gamma": "check-failed"}
    run = lab.latest()
    assert (run.state, run.exit_code, run.pool, run.planned) == ("finished", 1, pool, 6)
    assert dict(run.counts) == {"passed": 3, "failed": 2, "blocked": 1}


def test_all_passed_is_exit_code_0(lab: LabSession) -> None:
    """A night in which everything passed."""
    lab.entry("alpha")
    assert lab.run().ret == 0
    assert lab.latest().exit_code == 0


def test_the_headline_is_what_pytest_shows(lab: LabSession) -> None:
    """A failure is shown as its headline, and never as a traceback of the lab's own."""
    lab.entry("beta", BROKEN_BUILD)
    result = lab.run()
    result.stdout.fnmatch_lines(["*      build-failure: beta's build command ended with exit code 3: exit 3"])
    result.stdout.no_fnmatch_line("*Traceback*")
    shown = lab.results()["beta/testlab.toml::install"].headline
    assert 1 <= len(shown) <= 12
    assert [result.outlines.count(f"      {line}") for line in shown] == [1] * len(shown)
    result.stdout.no_fnmatch_line("*= FAILURES =*")


def test_the_junit_file(lab: LabSession) -> None:
    """--junitxml: a failure holds the headline, a blocked test is a skip with its reason."""
    fill(lab)
    lab.run("--junitxml", "report.xml", pool=2)
    suite = ElementTree.parse(lab.pytester.path / "report.xml").getroot()[0]  # noqa: S314 - our own pytest wrote it
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("6", "2", "1")
    texts = [failure.text or "" for failure in suite.iter("failure")]
    assert any(text.startswith(("build-failure", "[gw")) and "exit code 3" in text for text in texts)


@pytest.mark.parametrize("pool", [1, 2])
def test_last_failed(lab: LabSession, pool: int) -> None:
    """--lf runs just what failed; a failed check is installed first, because it needs its app."""
    fill(lab)
    lab.run(pool=pool)
    result = lab.run("--lf", pool=pool)
    result.stdout.fnmatch_lines(["*= 2 failed in *"])
    assert lab.statuses() == {"beta::install": "failed", "gamma::check": "failed"}


@pytest.mark.parametrize("pool", [1, 2])
def test_stop_at_the_first_failure(lab: LabSession, pool: int) -> None:
    """-x stops, and what was never run is said to be so."""
    lab.entry("beta", BROKEN_BUILD)
    for number in range(6):
        lab.entry(f"later-{number}", '[run]\ncommand = "sleep 0.5"\n')
    assert lab.run("-x", pool=pool).ret in (1, 2)
    statuses = lab.statuses()
    assert statuses["beta::install"] == "failed"
    assert list(statuses.values()).count("not_run") >= 4


@pytest.mark.parametrize("pool", [1, 2])
def test_quiet_prints_what_failed(lab: LabSession, pool: int) -> None:
    """-q prints failures with their headlines, and how it ended; nothing of what passed."""
    fill(lab)
    result = lab.run("-q", pool=pool)
    result.stdout.fnmatch_lines_random(["*beta*install*build-failure*", "*gamma*check*check-failed*"])
    assert "alpha" not in str(result.stdout)
    assert result.outlines[-1].startswith("2 failed, 3 passed, 1 blocked in ")


@pytest.mark.parametrize("pool", [1, 2])
def test_verbose_prints_a_line_each(lab: LabSession, pool: int) -> None:
    """-v prints a line for each test with its target, and -vv how long its phases took."""
    lab.entry("alpha")
    lines = ["*1/2 * alpha*install* s  on memory-[01]", "*2/2 * alpha*check* s  on memory-[01]"]
    result = lab.run("-v", pool=pool)
    result.stdout.fnmatch_lines(lines)
    assert str(result.stdout).count("::install") == 0
    phases = "*build [0-9]* s, deploy [0-9]* s, ready [0-9]* s"
    lab.run("-vv", pool=pool).stdout.fnmatch_lines([lines[0], phases, lines[1]])


def test_ordinary_tests_are_shown_as_ever(lab: LabSession) -> None:
    """Beside the catalog, a pytest function that fails still has its traceback and its letter."""
    lab.entry("beta", BROKEN_BUILD)
    lab.pytester.makepyfile("def test_it():\n    assert 1 == 2\n")
    result = lab.run()
    result.stdout.fnmatch_lines(["*= FAILURES =*", "*assert 1 == 2*", "*= 2 failed, 1 blocked in *"])
    assert str(result.stdout).count("rule: build-failure") == 1


def test_pdb_works_on_one_target(lab: LabSession) -> None:
    """--pdb stops at the failure, in this process."""
    lab.entry("beta", BROKEN_BUILD)
    result = lab.run("--pdb", stdin=b"p 40 + 2\nc\n")
    result.stdout.fnmatch_lines(["*entering PDB*", "*42*"])


def test_an_entry_without_checks_is_skipped_at_check(lab: LabSession) -> None:
    """Nothing to check is said to be so; it is no pass."""
    lab.entry("alpha", '[run]\ncommand = "true"\n')
    assert lab.run().ret == 0
    assert lab.statuses() == {"alpha::install": "passed", "alpha::check": "skipped"}


@pytest.mark.parametrize(
    ("expected", "text", "statuses", "code"),
    [
        ("build-failure", BROKEN_BUILD, ("passed", "skipped"), 0),
        ("check-failed", BROKEN_CHECK, ("passed", "passed"), 0),
        ("app-crash", BROKEN_BUILD, ("failed", "blocked"), 1),
        ("build-failure", '[run]\ncommand = "true"\n[[checks]]\ncommand = "true"\n', ("passed", "failed"), 1),
    ],
)
def test_expected_failures(lab: LabSession, expected: str, text: str, statuses: tuple[str, str], code: int) -> None:
    """An entry that expects a failure passes with just that class, and fails when all goes well."""
    lab.entry("alpha", f'[app]\nname = "alpha"\nexpects-failure = "{expected}"\n\n{text}')
    assert lab.run().ret == code
    assert lab.statuses() == {"alpha::install": statuses[0], "alpha::check": statuses[1]}


@pytest.mark.parametrize("pool", [1, 2])
def test_nothing_selected_is_pytests_own_exit_code(lab: LabSession, pool: int) -> None:
    """A selection that fits nothing is exit code 5, as ever, and no reason to abort."""
    lab.entry("alpha")
    assert lab.run("-k", "nobody", pool=pool).ret == 5


def test_more_targets_than_units(lab: LabSession) -> None:
    """Servers that nothing would run on are not asked for."""
    lab.entry("alpha")
    assert lab.run(pool=3).ret == 0
    assert lab.statuses() == {"alpha::install": "passed", "alpha::check": "passed"}
