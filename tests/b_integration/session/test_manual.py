"""`testlab run`, and `testlab run --trigger manual`: the nightly as it stands in lab.toml."""

from __future__ import annotations

import subprocess

import pytest
import warm
from sessions import LabSession

from pytest_testlab.session.provenance import actor

NIGHTLY = """
[schedule]
cron = "30 2 * * *"
time-zone = "Europe/Berlin"
catalog = ["one"]
provider = "memory"
budget = "1h"
"""


def run(lab: LabSession, *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.testlab("run", *arguments, cwd=lab.pytester.path, timeout_s=120)


def test_the_nightly_by_hand(lab: LabSession) -> None:
    """Its paths, its options, its mode; and the record says that somebody played it by hand."""
    lab.entry("one")
    lab.entry("two")
    (lab.pytester.path / "lab.toml").write_text(NIGHTLY)
    done = run(lab, "--trigger", "manual")
    assert done.returncode == 0, done.stdout + done.stderr
    night = lab.latest()
    assert (night.mode, night.trigger, night.actor) == ("nightly", f"manual:{actor()}", actor())
    assert (night.provider, night.budget_s) == ("memory", 3600)
    assert lab.statuses() == {"platform::install": "passed", "one::install": "passed", "one::check": "passed"}


@pytest.mark.parametrize(
    ("arguments", "say"),
    [
        (
            ("--trigger", "manual", "-k", "one"),
            "--trigger manual plays what lab.toml says, and nothing else: leave out -k one",
        ),
        (("--trigger", "manual", "--schedule", "nightli"), "no schedule is called 'nightli'"),
        (("--trigger", "manual", "--config", "lap.toml"), "lap.toml: can't be read: No such file or directory"),
        (("--schedule", "nightly"), "--schedule and --config go with --trigger manual"),
    ],
)
def test_mistakes_are_one_line(lab: LabSession, arguments: tuple[str, ...], say: str) -> None:
    """Exit 2, and nothing was run."""
    (lab.pytester.path / "one").mkdir()
    (lab.pytester.path / "lab.toml").write_text(NIGHTLY)
    done = run(lab, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("testlab: ")
    assert say in done.stderr
    assert done.stderr.count("\n") == 1
    assert lab.count() == 0
