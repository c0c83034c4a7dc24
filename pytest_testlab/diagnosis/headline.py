"""The headline: at most twelve lines from which a tired person sees what broke, by what proof, and where to look."""

from __future__ import annotations

from collections.abc import Callable

from pytest_testlab.diagnosis.facts import dead_addon, declared, fact_lines
from pytest_testlab.diagnosis.telling import has_traceback, plain, telling_lines
from pytest_testlab.errors import BuildFailed, StepFailed
from pytest_testlab.evidence import Evidence
from pytest_testlab.model import FailureClass, Verdict

MAX_LINES = 12
MAX_WIDTH = 160
MOST_OF_STEP = 8
_OF_STEPS = ("timeout/step", "check-failed/step")
"""The rules of steps that speak for themselves: their own output is all the log that there is."""


def headline(evidence: Evidence, verdict: Verdict, mask: Callable[[str], str] = str) -> tuple[str, ...]:
    """Cause, rule, decisive facts, telling log lines, and a hint; 12 lines of 160 characters at most.

    `mask` hides secrets; it sees each line whole, before the line is shortened, so that none slips through by halves.
    """
    head = [f"{verdict.failure_class}: {verdict.say}", f"rule: {verdict.rule}"]
    lines: list[str] = []
    failure = str(evidence.failure)
    if failure not in verdict.say and not isinstance(evidence.failure, BuildFailed | StepFailed):
        lines.append(f"failed at: {failure}")
    lines += verdict.lines[: MOST_OF_STEP if verdict.rule in _OF_STEPS else 3]
    facts = [line for line in fact_lines(evidence) if line not in lines]
    hint = [f"look at: {_hint(evidence, verdict)}"]
    gaps = [f"missing: {what}: {why}" for what, why in evidence.missing.items() if what in _NEEDED][:1]
    room = MAX_LINES - len(head) - len(lines) - len(hint) - len(gaps)
    most = 0 if verdict.rule in _OF_STEPS else min(5, max(2, room - min(len(facts), 3)))
    logs = telling_lines(evidence.sections, verdict.failure_class, most=most)
    logs = [line for line in logs if plain(failure) not in line]  # the transcripts hold it too
    lines += facts[: max(0, room - len(logs))]
    body = logs + lines if verdict.failure_class in _TOLD_BY_LOGS else lines + logs
    return tuple(_shown(line, mask) for line in (head + body)[: MAX_LINES - len(hint) - len(gaps)] + gaps + hint)


_NEEDED = ("proxy-probe",)
_TOLD_BY_LOGS = (
    FailureClass.BUILD_FAILURE,
    FailureClass.DEPLOY_FAILURE,
    FailureClass.APP_CRASH,
    FailureClass.APP_ERROR,
)
"""What broke there says why by itself; elsewhere the probe's facts come first."""


def _shown(line: str, mask: Callable[[str], str]) -> str:
    line = mask(plain(mask(line)))
    return line if len(line) <= MAX_WIDTH else line[: MAX_WIDTH - 1].rstrip() + "…"


def _hint(evidence: Evidence, verdict: Verdict) -> str:
    special = _BY_RULE.get(verdict.rule)
    if special is not None:
        return special(evidence)
    if not evidence.has_app and verdict.failure_class is FailureClass.CHECK_FAILED:
        return f"{_typed(evidence)}: all that was run and said until then"
    if verdict.failure_class is FailureClass.APP_ERROR and has_traceback(evidence.sections, "app"):
        return "the section app: the traceback beside that request"
    return _BY_CLASS[verdict.failure_class]


def _typed(evidence: Evidence) -> str:
    """Where the transcript of a test without an app is."""
    if "traceback" in evidence.sections:
        return "the sections traceback and target"
    return "the section blocks" if "blocks" in evidence.sections else "the section check"


def _wrong_port(evidence: Evidence) -> str:
    told = declared(evidence)
    port = told.address.rpartition(":")[2] if told is not None else "…"
    return f"[run] command: it must listen on 127.0.0.1:$PORT (here {port}), not on a port of its own"


def _addon(evidence: Evidence) -> str:
    addon = dead_addon(evidence)
    name = addon.name if addon is not None else "addon"
    return f"whether {name} runs on the target, and whether [env] overrides the address that the app is given"


_BY_RULE: dict[str, Callable[[Evidence], str]] = {
    "proxy-502/wrong-port": _wrong_port,
    "addon-unreachable/probe-no-answer": _addon,
    "timeout/build": lambda _: "the end of the section build: what it did last; raise timeout if it is just slow",
    "timeout/step": lambda evidence: f"{_typed(evidence)}: what it did last; raise its timeout if it is just slow",
    "check-failed/step": lambda evidence: f"{_typed(evidence)}: all that was typed and said until then",
    "timeout/ready": lambda _: (
        "the section app: what the app does at its start; raise [run] ready.within if it is slow"
    ),
    "timeout/app": lambda _: "the section app: the app took the request and never answered (a lock, a slow call?)",
    "timeout/front-door": lambda _: "the front door's error log and its timeouts; the app itself is fast",
    "app-crash/restarting": lambda _: "the section app: the lines before each end of the process",
    "deploy-failure/foreign-listener": lambda _: "which process holds the port: the section resources lists them",
    "check-failed/assertion": lambda _: "the section traceback; then http and target: what was asked, and what came",
    "indeterminate/test-raised": lambda _: "the section traceback: is it the test's own code, or what it was given?",
    "infra/network-down": lambda _: "the sections network-probe and dns; the app is not to blame",
    "infra/disk-full": lambda _: "the section resources: what fills the disk",
}
_BY_CLASS: dict[FailureClass, str] = {
    FailureClass.INFRA: "the target and its provider; the app is not to blame, and its rates don't count this",
    FailureClass.BUILD_FAILURE: "the section build: the command's last lines",
    FailureClass.DEPLOY_FAILURE: "the section deploy: the step that failed",
    FailureClass.ADDON_UNREACHABLE: "the addon's own log on the target",
    FailureClass.APP_CRASH: "the section app: the last lines before the process ended",
    FailureClass.APP_ERROR: "the section app: what it says beside that request",
    FailureClass.PROXY_502: "the front door's error log and its configuration of the upstream",
    FailureClass.TIMEOUT: "the section http: which request took the time",
    FailureClass.CHECK_FAILED: "the section http: the whole answer beside what the check expects",
    FailureClass.INDETERMINATE: "the sections that are absent, with their reasons; a second run may bring them",
}
