"""The class of a failure follows from facts, in the order of the table, whatever a log may say."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path

import pytest

from pytest_testlab.diagnosis.classify import classify
from pytest_testlab.diagnosis.collect import LOST
from pytest_testlab.diagnosis.probe import parse_probe
from pytest_testlab.diagnosis.rules import BUILT_IN_RULES
from pytest_testlab.errors import (
    BuildFailed,
    CheckFailed,
    DeadlinePassed,
    DeployFailed,
    InfraError,
    NotBlankError,
    NotReady,
    StageFailure,
    TestlabError,
    UsageError,
)
from pytest_testlab.evidence import Evidence
from pytest_testlab.model import FailureClass, Stage, Verdict
from pytest_testlab.protocols import Rule

RUNNING = "process state=running pid=7 starts=1"
CRASHED = "process state=exited starts=1 exit=1"
LOOPING = "process state=restarting starts=6 exit=3"
LISTENS = "listener address=127.0.0.1:5003 pid=7 descends=yes"
INSIDE_OK = "inside address=127.0.0.1:5003 declared=yes status=200 seconds=0.012"
INSIDE_500 = "inside address=127.0.0.1:5003 declared=yes status=500 seconds=0.02"
INSIDE_REFUSED = "inside address=127.0.0.1:5003 declared=yes error=refused"
INSIDE_TIMEOUT = "inside address=127.0.0.1:5003 declared=yes error=timeout seconds=5"
ELSEWHERE_OK = "inside address=127.0.0.1:5000 declared=no status=200 seconds=0.01"
ELSEWHERE_500 = "inside address=127.0.0.1:5000 declared=no status=500 seconds=0.01"
FRONT_OK = "front-door address=127.0.0.1:8080 status=200 seconds=0.004"
FRONT_500 = "front-door address=127.0.0.1:8080 status=500 seconds=0.004"
FRONT_502 = "front-door address=127.0.0.1:8080 status=502 seconds=0.004"
FRONT_504 = "front-door address=127.0.0.1:8080 status=504 seconds=5"
FRONT_REFUSED = "front-door address=127.0.0.1:8080 error=refused"
FRONT_TIMEOUT = "front-door address=127.0.0.1:8080 error=timeout seconds=5"
ADDON_OK = 'addon name=postgresql address=127.0.0.1:5432 answers=yes say="accepting connections"'
ADDON_DEAD = 'addon name=postgresql address=127.0.0.1:9 answers=no say="connection refused"'
NETWORK_DEAD = 'network host=index.example.org ok=no say="no name server answers"'
NETWORK_OK = 'network host=index.example.org ok=yes say="answers on port 443"'
NO_SUCH_NAME = 'network host=index.exmaple.org ok=no say="no such name"'
PROBE_GAP = 'missing what=inside why="no curl, wget or python3 on the target"'

BUILD = BuildFailed("venv/bin/pip install radicale==3.5.4", 1)
BUILD_TIME = DeadlinePassed("build", 600, "end of the build")
DEPLOY = DeployFailed("vhost", "nginx: configuration test failed")
LISTENING = DeployFailed("listening", "what answers is not this deploy: nobody listens on port 5003")
NOT_READY_502 = NotReady("/", 60, 502, "502")
NOT_READY_500 = NotReady("/", 60, 500, "500")
NOT_READY_504 = NotReady("/", 60, 504, "504")
NOT_READY_NONE = NotReady("/", 60, None, "refused")
CONTENT = CheckFailed(1, "home", "'Radicale' in the answer", "'Hello World!'", status=200)
CHECK_404 = CheckFailed(1, "home", "status 200", "404", status=404)
CHECK_500 = CheckFailed(2, "api", "status 200", "500", status=500)
CHECK_502 = CheckFailed(2, "api", "status 200", "502", status=502)
CHECK_TIME = CheckFailed(2, "api", "an answer", "none", deadline_s=10)
SCRIPT = CheckFailed(3, "an event comes back", "exit code 0", "exit code 1")
SCRIPT_TIME = DeadlinePassed("script", 600, "end of checks/event.py")


def evidence(failure: TestlabError, *probe: str, static: bool = False, **sections: bytes) -> Evidence:
    return Evidence(
        entry="radicale",
        stage=Stage.INSTALL,
        failure=failure,
        static=static,
        probe=parse_probe(["\n".join(probe).encode()]) if probe else None,
        missing={} if probe else {"proxy-probe": "the probe raised"},
        sections=sections,
    )


def named(failure: TestlabError, *probe: str, static: bool = False, **sections: bytes) -> Verdict:
    return classify(evidence(failure, *probe, static=static, **sections), BUILT_IN_RULES)


MATRIX = [
    # infra
    ("infra/lab-error", InfraError("the line was lost"), ()),
    ("infra/lab-error", NotBlankError("a process of the last app runs"), (RUNNING, INSIDE_500)),
    ("infra/network-down", BUILD, (NETWORK_DEAD,)),
    ("infra/network-down", BUILD_TIME, (NETWORK_DEAD,)),
    ("infra/network-down", DEPLOY, (NETWORK_DEAD,)),
    # build
    ("build-failure/command-failed", BUILD, ()),
    ("build-failure/command-failed", BUILD, (NETWORK_OK,)),
    ("build-failure/command-failed", BUILD, (NO_SUCH_NAME,)),  # a typing error in a host is the app's own
    ("build-failure/command-failed", BUILD, (ADDON_DEAD, "process state=absent starts=0")),
    # deploy
    ("deploy-failure/step-failed", DEPLOY, ()),
    ("deploy-failure/step-failed", DEPLOY, (ADDON_DEAD, CRASHED)),
    ("deploy-failure/never-started", NOT_READY_502, ("process state=absent starts=0", INSIDE_REFUSED, FRONT_502)),
    (
        "deploy-failure/foreign-listener",
        NOT_READY_502,
        (CRASHED, "listener address=127.0.0.1:5003 pid=99 descends=no", INSIDE_OK, FRONT_OK),
    ),
    (
        "deploy-failure/any-host-answers",
        CHECK_404,
        (RUNNING, INSIDE_OK, "front-door address=a:80 status=404", "unknown-host address=a:80 status=404 same=yes"),
    ),
    ("deploy-failure/step-failed", LISTENING, (RUNNING, INSIDE_OK, FRONT_OK)),
    ("app-crash/process-ended", LISTENING, (CRASHED, INSIDE_REFUSED, FRONT_502)),
    # addon
    ("addon-unreachable/probe-no-answer", NOT_READY_502, (CRASHED, ADDON_DEAD, INSIDE_REFUSED, FRONT_502)),
    ("addon-unreachable/probe-no-answer", NOT_READY_500, (RUNNING, ADDON_DEAD, INSIDE_500, FRONT_500)),
    ("addon-unreachable/probe-no-answer", SCRIPT, (RUNNING, ADDON_DEAD, INSIDE_OK, FRONT_OK)),
    # crash
    ("app-crash/process-ended", NOT_READY_502, (CRASHED, INSIDE_REFUSED, FRONT_502)),
    ("app-crash/process-ended", NOT_READY_NONE, (CRASHED, INSIDE_REFUSED, FRONT_REFUSED)),
    ("app-crash/process-ended", NOT_READY_502, (CRASHED, ADDON_OK, INSIDE_REFUSED, FRONT_502)),
    ("app-crash/process-ended", NOT_READY_502, ("process state=exited starts=1 exit=0", INSIDE_REFUSED, FRONT_502)),
    ("app-crash/restarting", NOT_READY_502, (LOOPING, INSIDE_REFUSED, FRONT_502)),
    ("app-crash/restarting", NOT_READY_502, (LOOPING, INSIDE_OK, FRONT_502)),  # asked in the second when it was up
    ("app-crash/restarting", SCRIPT, ("process state=running starts=2 exit=139", INSIDE_OK, FRONT_OK)),
    ("app-crash/process-ended", CHECK_502, (CRASHED, INSIDE_REFUSED, FRONT_502)),
    ("app-crash/process-ended", SCRIPT_TIME, (CRASHED, INSIDE_REFUSED, FRONT_502)),
    # the app's own errors
    ("app-error/inside-5xx", NOT_READY_500, (RUNNING, INSIDE_500, FRONT_500)),
    ("app-error/inside-5xx", CHECK_500, (RUNNING, INSIDE_500, FRONT_500)),
    ("app-error/inside-5xx", NOT_READY_502, (RUNNING, INSIDE_REFUSED, ELSEWHERE_500, FRONT_502)),
    ("app-error/inside-5xx", NOT_READY_500, (RUNNING, INSIDE_500, ELSEWHERE_OK, FRONT_500)),
    ("app-error/check-got-5xx", CHECK_500, (RUNNING, INSIDE_OK, FRONT_OK)),  # one page errs, the rest is well
    # the front door
    ("proxy-502/front-door-5xx-inside-ok", NOT_READY_502, (RUNNING, INSIDE_OK, FRONT_502)),
    ("proxy-502/front-door-5xx-inside-ok", NOT_READY_NONE, (RUNNING, INSIDE_OK, FRONT_REFUSED)),
    ("proxy-502/front-door-5xx-inside-ok", CHECK_502, (RUNNING, INSIDE_OK, FRONT_502)),
    ("proxy-502/front-door-5xx-inside-ok", SCRIPT, (RUNNING, INSIDE_OK, FRONT_502)),
    ("proxy-502/front-door-5xx-inside-ok", NOT_READY_502, (RUNNING, INSIDE_OK, ELSEWHERE_500, FRONT_502)),
    ("proxy-502/wrong-port", NOT_READY_502, (RUNNING, INSIDE_REFUSED, ELSEWHERE_OK, FRONT_502)),
    ("proxy-502/check-got-502-inside-ok", CHECK_502, (RUNNING, INSIDE_OK, FRONT_OK)),
    # time
    ("timeout/build", BUILD_TIME, ()),
    ("timeout/build", BUILD_TIME, (NETWORK_OK, ADDON_DEAD)),
    ("timeout/ready", NOT_READY_502, (RUNNING, INSIDE_REFUSED, FRONT_502)),
    ("timeout/app", NOT_READY_504, (RUNNING, LISTENS, INSIDE_TIMEOUT, FRONT_504)),
    ("timeout/app", CHECK_TIME, (RUNNING, INSIDE_TIMEOUT, FRONT_TIMEOUT)),
    ("timeout/app", NOT_READY_NONE, (RUNNING, INSIDE_TIMEOUT, FRONT_TIMEOUT)),
    ("timeout/front-door", NOT_READY_NONE, (RUNNING, INSIDE_OK, FRONT_TIMEOUT)),
    ("timeout/front-door", CHECK_TIME, (RUNNING, INSIDE_OK, FRONT_TIMEOUT)),
    ("timeout/ready", NOT_READY_502, (RUNNING, INSIDE_OK, FRONT_OK)),  # it came up just after its time
    ("timeout/script", SCRIPT_TIME, (RUNNING, INSIDE_OK, FRONT_OK)),
    ("timeout/check", CHECK_TIME, (RUNNING, INSIDE_OK, FRONT_OK)),
    # content
    ("check-failed/wrong-answer", CONTENT, (RUNNING, INSIDE_OK, FRONT_OK)),
    ("check-failed/wrong-answer", CONTENT, ()),
    ("check-failed/wrong-answer", CHECK_404, (RUNNING, INSIDE_OK, FRONT_OK)),
    ("check-failed/wrong-answer", SCRIPT, (RUNNING, INSIDE_OK, FRONT_OK)),
    ("check-failed/wrong-answer", SCRIPT, (RUNNING, ADDON_OK, INSIDE_OK, FRONT_OK)),
    ("check-failed/wrong-answer", CONTENT, ("process state=exited starts=1 exit=0", INSIDE_OK, FRONT_OK)),
    # what can't be known
    ("indeterminate/evidence-missing", NOT_READY_502, ()),
    ("indeterminate/evidence-missing", SCRIPT, ()),
    ("indeterminate/evidence-missing", CHECK_500, ()),
    ("indeterminate/evidence-missing", NOT_READY_502, (PROBE_GAP, FRONT_502)),
    ("indeterminate/evidence-missing", NOT_READY_502, (RUNNING, INSIDE_OK)),
    ("indeterminate/contradiction", StageFailure("odd"), (RUNNING, INSIDE_OK, FRONT_OK)),
    ("indeterminate/unknown-failure", UsageError("no such secret"), (CRASHED,)),
    ("indeterminate/unknown-failure", TestlabError("TypeError: …"), (RUNNING, INSIDE_500, FRONT_500)),
]


@pytest.mark.parametrize(("rule", "failure", "probe"), MATRIX)
def test_each_cause_has_its_class_and_rule(rule: str, failure: TestlabError, probe: tuple[str, ...]) -> None:
    """The evidence of a known cause is given just this class, by just this rule."""
    verdict = named(failure, *probe)
    assert verdict.rule == rule
    assert verdict.failure_class == rule.split("/")[0]
    assert verdict.say


NOISE = (
    b"psycopg.OperationalError: connection refused\nerror: subprocess-exited-with-error\n"
    b"Traceback (most recent call last):\nHTTP 502 Bad Gateway\nupstream timed out\n"
    b"fatal: password authentication failed\n"
)


@pytest.mark.parametrize(("rule", "failure", "probe"), MATRIX)
def test_no_text_in_a_log_changes_a_class(rule: str, failure: TestlabError, probe: tuple[str, ...]) -> None:
    """Logs full of other causes' words leave every class as the facts have it."""
    logs = dict.fromkeys(("build", "app", "journald", "front-door-error"), NOISE)
    assert named(failure, *probe, **logs).rule == rule


def test_a_static_site_is_judged_by_its_front_door() -> None:
    """A static site has no process, and nothing is said to be missing of it."""
    assert named(NOT_READY_502, FRONT_502, static=True).rule == "proxy-502/static-front-door"
    assert named(NOT_READY_NONE, FRONT_TIMEOUT, static=True).rule == "timeout/front-door"
    assert named(CHECK_404, FRONT_OK, static=True).rule == "check-failed/wrong-answer"
    assert named(StageFailure("odd"), FRONT_OK, static=True).rule == "indeterminate/contradiction"


def test_the_wrong_port_is_named() -> None:
    """A person reads both addresses: where it listens, and where it was told to."""
    say = named(NOT_READY_502, RUNNING, INSIDE_REFUSED, ELSEWHERE_OK, FRONT_502).say
    assert say == (
        "radicale answers 200 on 127.0.0.1:5000, "
        "but it was told to listen on 127.0.0.1:5003, where the front door looks"
    )


def test_an_answer_of_another_process_is_not_the_apps() -> None:
    """A neighbour's 200 on the same machine doesn't make a starting app a proxy's fault."""
    neighbour = ("listener address=127.0.0.1:5000 pid=99 descends=no", ELSEWHERE_OK)
    assert named(NOT_READY_502, RUNNING, INSIDE_REFUSED, *neighbour, FRONT_502).rule == "timeout/ready"


def test_an_unknown_owner_of_the_port_proves_nothing() -> None:
    """Where the target can't say who holds a port, nobody is accused of holding it."""
    blind = "listener address=127.0.0.1:5003 descends=no"
    assert named(NOT_READY_502, RUNNING, blind, INSIDE_OK, FRONT_502).failure_class == FailureClass.PROXY_502


def test_a_front_door_that_fails_for_every_host_is_not_called_a_wrong_vhost() -> None:
    """The same 502 for an unknown host is no sign that another's page answered."""
    unknown = "unknown-host address=127.0.0.1:8080 status=502 same=yes"
    assert named(NOT_READY_502, RUNNING, INSIDE_OK, FRONT_502, unknown).failure_class == FailureClass.PROXY_502


def test_a_killed_process_is_told_with_the_kernels_line() -> None:
    """Exit code 137 says signal 9, and the kernel's own words stand beside it."""
    kernel = b"Nov 21 02:31:07 host kernel: Out of memory: Killed process 812 (node) total-vm:2097152kB\n"
    verdict = named(NOT_READY_502, "process state=exited starts=1 exit=137", INSIDE_REFUSED, FRONT_502, journald=kernel)
    assert verdict.failure_class == FailureClass.APP_CRASH
    assert "exit code 137, killed by signal 9 (out of memory?)" in verdict.say
    assert verdict.lines == ("journald: " + kernel.decode().strip(),)


def test_a_full_disk_needs_the_fact_and_the_words() -> None:
    """Neither a full disk alone nor a log's word alone makes a build the lab's fault."""
    full = b"Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda1 1000 1000 0 100% /\n"
    words = b"OSError: [Errno 28] No space left on device\n"
    assert named(BUILD, NETWORK_OK, resources=full, build=words).rule == "infra/disk-full"
    assert named(BUILD, NETWORK_OK, resources=full).failure_class == FailureClass.BUILD_FAILURE
    assert named(BUILD, NETWORK_OK, build=words).failure_class == FailureClass.BUILD_FAILURE


def test_a_lost_target_is_infrastructure() -> None:
    """When no section could be had because the line is gone, the app isn't blamed."""
    lost = dataclasses.replace(evidence(SCRIPT), missing={"target": f"{LOST}: connection reset"})
    assert classify(lost, BUILT_IN_RULES).rule == "infra/target-lost"


def test_indeterminate_names_what_is_missing() -> None:
    """The reader learns which evidence would have decided, and why it isn't there."""
    assert named(SCRIPT).say == "no cause can be proven for radicale: proxy-probe is missing (the probe raised)"
    assert (
        "inside is missing (no curl, wget or python3 on the target)" in named(NOT_READY_502, PROBE_GAP, FRONT_502).say
    )


def always(failure_class: FailureClass) -> Rule:
    verdict = Verdict(failure_class=failure_class, rule=f"{failure_class}/always", say="always")
    return Rule(name=str(failure_class), failure_class=failure_class, decide=lambda _: verdict)


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(FailureClass, 2)))
def test_the_earlier_class_wins_for_every_pair(one: FailureClass, other: FailureClass) -> None:
    """Whichever was registered first, the class that stands earlier in the table is given."""
    order = list(FailureClass)
    expected = min(one, other, key=order.index)
    assert classify(evidence(SCRIPT), [always(one), always(other)]).failure_class == expected


CAUSES: dict[FailureClass, tuple[str, ...]] = {
    FailureClass.DEPLOY_FAILURE: ("listener address=127.0.0.1:5003 pid=99 descends=no",),
    FailureClass.ADDON_UNREACHABLE: (ADDON_DEAD,),
    FailureClass.APP_CRASH: (CRASHED,),
    FailureClass.APP_ERROR: (ELSEWHERE_500,),
    FailureClass.PROXY_502: (ELSEWHERE_OK,),
}


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(CAUSES, 2)))
def test_two_causes_at_once_give_the_earlier(one: FailureClass, other: FailureClass) -> None:
    """With the evidence of two causes in one probe, the earlier class of the table is given by the real rules."""
    if (one, other) == (FailureClass.APP_ERROR, FailureClass.PROXY_502):
        lines: tuple[str, ...] = (INSIDE_500, ELSEWHERE_OK)
    else:
        lines = (INSIDE_REFUSED, *CAUSES[one], *CAUSES[other])
    process = () if CRASHED in lines else (RUNNING,)
    assert named(NOT_READY_502, *process, *lines, FRONT_502).failure_class == one


def test_a_rule_that_raises_costs_no_verdict() -> None:
    """A plugin's broken rule is passed over, and named below whatever verdict comes of the others."""

    def broken(_: Evidence) -> Verdict | None:
        raise RuntimeError("oh")

    rule = Rule(name="theirs", failure_class=FailureClass.INFRA, decide=broken)
    say = r"the rule theirs failed: RuntimeError: oh \(.*test_classify.py:\d+, in broken\)"
    verdict = classify(evidence(BUILD), [rule, *BUILT_IN_RULES])
    assert verdict.rule == "build-failure/command-failed"
    assert re.fullmatch(say, verdict.lines[-1])
    assert re.fullmatch(say, classify(evidence(SCRIPT), [rule]).lines[0])


def test_every_rule_is_in_the_reference() -> None:
    """A reader who meets a rule in a headline finds it in the table of classes."""
    page = (Path(__file__).parents[3] / "docs/reference/classes.md").read_text()
    rules = {rule for rule, _, _ in MATRIX} | {"proxy-502/static-front-door", "infra/disk-full", "infra/target-lost"}
    assert not [rule for rule in rules if f"`{rule.partition('/')[2]}`" not in page]
    assert all(f"| `{failure_class}` |" in page for failure_class in FailureClass)
