"""Names the class of a failure: the first rule that fits, in the order of the table of classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from pytest_testlab.diagnosis.facts import fact_lines, front_door_good, inside_good, process
from pytest_testlab.errors import StageFailure, TestRaised
from pytest_testlab.evidence import Evidence
from pytest_testlab.model import FailureClass, Verdict
from pytest_testlab.protocols import Rule
from pytest_testlab.seams import blame

_RANK = {failure_class: rank for rank, failure_class in enumerate(FailureClass)}
PROBE = "proxy-probe"


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """Rules of an earlier class first, then those registered first."""
    return sorted(rules, key=lambda rule: _RANK[rule.failure_class])


def classify(evidence: Evidence, rules: Iterable[Rule]) -> Verdict:
    """The verdict of the first rule that fits; `indeterminate`, which says what is missing, when none does.

    A rule that raises is passed over and named: a plugin's fault must not cost the verdict.
    """
    broken: list[str] = []
    for rule in in_order(rules):
        try:
            verdict = rule.decide(evidence)
        except Exception as error:  # noqa: BLE001  whatever a plugin's rule raises, the other rules go on
            broken.append(blame(f"the rule {rule.name}", error, rule.decide))
            continue
        if verdict is not None:
            return dataclasses.replace(verdict, lines=(*verdict.lines, *broken[:1]))
    return indeterminate(evidence, broken)


def indeterminate(evidence: Evidence, broken: Iterable[str] = ()) -> Verdict:
    """The verdict when no rule fits: what is missing, or what contradicts itself."""
    failure, broken = evidence.failure, tuple(broken)
    missing = _missing(evidence)
    if isinstance(failure, TestRaised):
        fired, say = "test-raised", str(failure)
        return _indeterminate(fired, say, (*broken, *failure.said[1:]))
    if not isinstance(failure, StageFailure):
        fired, say = "unknown-failure", f"{evidence.entry} ended with {type(failure).__name__}: {failure}"
    elif missing:
        fired, say = "evidence-missing", f"no cause can be proven for {evidence.entry}: {missing[0]}"
    else:
        fired, say = "contradiction", f"the evidence on {evidence.entry} contradicts itself: {_contradiction(evidence)}"
    return _indeterminate(fired, say, (*broken, *(missing if fired == "unknown-failure" else missing[1:])))


def _indeterminate(fired: str, say: str, lines: tuple[str, ...]) -> Verdict:
    rule = f"{FailureClass.INDETERMINATE}/{fired}"
    return Verdict(failure_class=FailureClass.INDETERMINATE, rule=rule, say=say, lines=lines)


def _missing(evidence: Evidence) -> list[str]:
    """What a verdict would have needed; the target and the probe come first."""
    lines = []
    if evidence.probe is None:
        lines.append(f"{PROBE} is missing ({evidence.missing.get(PROBE, 'it was not made')})")
    else:
        lines += [f"{what} is missing ({why})" for what, why in evidence.probe.missing.items()]
        if not evidence.static and process(evidence) is None:
            lines.append("the state of the process is missing")
        if not evidence.static and not evidence.probe.inside:
            lines.append("no inside address was asked")
        if evidence.probe.front_door is None:
            lines.append("the front door was not asked")
    return lines


def _contradiction(evidence: Evidence) -> str:
    if inside_good(evidence) is not None and front_door_good(evidence) is not None:
        return f"{evidence.failure}, but inside and front door answer"
    return "; ".join((str(evidence.failure), *fact_lines(evidence)))
