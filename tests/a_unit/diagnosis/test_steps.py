"""How failures are classified where there is no app to ask: they stand by themselves, unless the lab is at fault."""

from __future__ import annotations

import pytest

from pytest_testlab.diagnosis.classify import classify
from pytest_testlab.diagnosis.headline import headline
from pytest_testlab.diagnosis.rules import BUILT_IN_RULES, TARGET
from pytest_testlab.errors import CheckFailed, DeadlinePassed, InfraError, StepFailed, TestlabError
from pytest_testlab.evidence import Evidence, NetworkProbe, ProbeFacts

STEP = StepFailed("block 2 (run)", "docs/a.md:7", "exit code 0", "exit code 3", command="run", output=["one", "two"])
LATE = StepFailed("block 2 (run)", "docs/a.md:7", "exit code 0", "no end", deadline_s=5)
CHECK = CheckFailed(1, "look", "exit code 0", "exit code 3")
CHECK_LATE = CheckFailed(1, "look", "exit code 0", "no end", deadline_s=5)
DEAD_INDEX = ProbeFacts(network=(NetworkProbe(host="index.example", ok=False, say="timed out"),))


def of(failure: TestlabError, **more: object) -> Evidence:
    return Evidence(entry="a", stage="tutorial", failure=failure, has_app=False, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("evidence", "rule"),
    [
        (of(STEP), "check-failed/step"),
        (of(LATE), "timeout/step"),
        (of(CHECK), "check-failed/wrong-answer"),
        (of(CHECK_LATE), "timeout/step"),
        (of(DeadlinePassed("check", 5, "time left")), "timeout/step"),
        (of(InfraError("the line was lost")), "infra/lab-error"),
        (of(STEP, missing={TARGET: "the line to the target was lost: reset"}), "infra/target-lost"),
        (of(STEP, probe=DEAD_INDEX), "infra/network-down"),
    ],
)
def test_each_has_its_rule(evidence: Evidence, rule: str) -> None:
    """What the lab is at fault for comes first, then time, then content; nothing is indeterminate."""
    assert classify(evidence, BUILT_IN_RULES).rule == rule


def test_the_headline_of_a_block() -> None:
    """Place, exit code, command, output, and where the rest is."""
    assert headline(of(STEP), classify(of(STEP), BUILT_IN_RULES)) == (
        "check-failed: block 2 (run), docs/a.md:7: expected exit code 0, got exit code 3",
        "rule: check-failed/step",
        "command: run",
        "output: one",
        "output: two",
        "look at: the section check: all that was typed and said until then",
    )
