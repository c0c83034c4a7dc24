"""What the command line says of a run that a session has left in the store."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sessions import LabSession

BROKEN = '[build]\ncommands = ["exit 3"]\n\n[run]\ncommand = "true"\n\n[[checks]]\ncommand = "true"\n'


def command(lab: LabSession, *arguments: str) -> pytest.RunResult:
    return lab.testlab(*arguments)


def read(lab: LabSession, *arguments: str) -> Any:
    result = command(lab, *arguments, "--json")
    assert result.ret == 0, result.stderr.str()
    return json.loads(result.stdout.str())


@pytest.fixture
def night(lab: LabSession) -> LabSession:
    lab.entry("alpha")
    lab.entry("beta", BROKEN)
    lab.run()
    return lab


def test_runs(night: LabSession) -> None:
    """`runs --json` has the keys that scripts rely on."""
    (run,) = read(night, "runs")
    wanted = "run mode lane trigger actor branch sha pool budget_s started_at finished_at state counts"
    assert set(wanted.split()) <= set(run)
    assert run["counts"] == {"passed": 2, "failed": 1, "blocked": 1}


def test_diff_of_a_lanes_first_night(night: LabSession) -> None:
    """`previous` is null, and everything is new or in a list of its own."""
    diff = read(night, "diff")
    assert diff["previous"] is None
    assert {item["test"]: item["class"] for item in diff["new"]} == {
        "alpha/testlab.toml::install": None,
        "alpha/testlab.toml::check": None,
        "beta/testlab.toml::install": "build-failure",
    }
    assert [item["test"] for item in diff["blocked"]] == ["beta/testlab.toml::check"]


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("beta", "beta/testlab.toml::install"),
        ("beta::check", "beta/testlab.toml::check"),
        ("alpha", "alpha/testlab.toml::check"),
        ("alpha/testlab.toml::install", "alpha/testlab.toml::install"),
    ],
)
def test_why_takes_what_people_type(night: LabSession, name: str, test: str) -> None:
    """An entry's name means what failed of it, else its last test; `entry::stage` and whole ids are exact."""
    found = read(night, "why", name)
    assert found["test"] == test
    assert {"run", "status", "class", "rule", "headline", "sections", "redacted"} <= set(found)


def test_why_means_the_latest_run_that_has_any_of_the_tests(night: LabSession) -> None:
    """A run of another entry in between changes nothing; which of several tests was picked is said."""
    night.run("alpha")
    for name, first in (
        ("beta", "failed  beta/testlab.toml::install  in * (of its 2 tests the first that didn't pass)"),
        ("alpha", "passed  alpha/testlab.toml::check  in * (of its 2 tests the last)"),
    ):
        result = command(night, "why", name)
        assert result.ret == 0
        result.stdout.fnmatch_lines([first])


def test_why_of_several_entries_suggests_whole_names(night: LabSession) -> None:
    """None is picked: one line, exit code 2."""
    result = command(night, "why", "::install")
    assert result.ret == 2
    assert result.errlines == [
        "testlab: '::install' fits 2 tests of several entries; did you mean "
        "alpha/testlab.toml::install or beta/testlab.toml::install?"
    ]


def test_why_of_a_run_begins_with_what_failed(night: LabSession) -> None:
    """A line each with the command that tells more, also where a run's id stands in the place of a test."""
    name = night.latest().run
    for arguments, run in (((), ""), ((name,), f"--run {name} "), (("--run", name), f"--run {name} ")):
        result = command(night, "why", *arguments)
        assert result.ret == 0
        (line,) = [line for line in result.outlines if "testlab why" in line]
        assert line.startswith(f"  failed  testlab why {run}beta::install  build-failure")
    (failed,) = read(night, "why")["failed"]
    assert (failed["test"], failed["class"]) == ("beta/testlab.toml::install", "build-failure")


def test_unknown_names_get_the_nearest(night: LabSession) -> None:
    """One line, exit code 2."""
    result = command(night, "why", "alpa")
    assert result.ret == 2
    assert result.errlines == ["testlab: no test is called 'alpa'; did you mean alpha?"]
    result = command(night, "why", "nosuch")
    assert result.ret == 2
    assert result.errlines == [
        "testlab: no test is called 'nosuch', nor anything like it; the latest run has alpha/testlab.toml::check or "
        "alpha/testlab.toml::install or beta/testlab.toml::check, and testlab why alone tells what failed"
    ]


def test_diff_of_the_latest_of_a_mode(night: LabSession) -> None:
    """A run by hand since then hides no night; where there was none, that is said."""
    result = command(night, "diff", "--mode", "nightly")
    assert result.ret == 0
    assert result.outlines == ["no run of the mode nightly yet; start one with: testlab run --trigger manual"]
    night.run("--testlab-mode", "nightly", "alpha")
    nightly = night.latest().run
    night.run("alpha")
    assert read(night, "diff", "--mode", "nightly")["run"] == nightly
    assert read(night, "diff")["run"] == night.latest().run != nightly
