"""The built-in rules: one function a cause, asking facts before text. Their order is that of the table of classes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_testlab.diagnosis.collect import LOST
from pytest_testlab.diagnosis.facts import (
    KILLED,
    LISTENING,
    SERVER_ERROR,
    addon_line,
    after_deploy,
    dead_addon,
    dead_network,
    declared,
    elsewhere,
    ended,
    front_door_bad,
    front_door_good,
    inside_bad,
    inside_good,
    inside_timeout,
    probe,
    process,
    said,
    stranger,
    timed,
)
from pytest_testlab.diagnosis.sections import NO_SUCH_NAME
from pytest_testlab.errors import (
    AssertionFailed,
    BuildFailed,
    CheckFailed,
    DeadlinePassed,
    DeployFailed,
    InfraError,
    NotReady,
    StepFailed,
)
from pytest_testlab.evidence import Evidence
from pytest_testlab.model import FailureClass, Verdict
from pytest_testlab.protocols import Rule

TARGET = "target"
"""The key in `Evidence.missing` under which a lost line is a fact."""
_OOM = re.compile(rb"(?i)(out of memory: killed|oom-kill|oom_reaper|killed process \d+)")
_FULL_DISK = re.compile(rb"(?m)^\S+\s+\d+\s+\d+\s+0\s+100%\s")
_GATEWAY_TIMEOUT = 504
_SHORT = 60
"""Characters of what was expected and got that stand on a headline's first line."""
_PROXY_OWN = (502, _GATEWAY_TIMEOUT)
"""What a front door says for itself; a 500 or 503 that it passes on comes from the app."""


def _verdict(cls: FailureClass, fired: str, say: str, *lines: str) -> Verdict:
    return Verdict(failure_class=cls, rule=f"{cls}/{fired}", say=say, lines=tuple(line for line in lines if line))


# --- infra -----------------------------------------------------------------------------------------------------------


def lab_error(evidence: Evidence) -> Verdict | None:
    """The lab said so itself when it raised."""
    if not isinstance(evidence.failure, InfraError):
        return None
    return _verdict(FailureClass.INFRA, "lab-error", f"not the app's fault: {evidence.failure}")


def target_lost(evidence: Evidence) -> Verdict | None:
    """The target could not be reached any more when its evidence was to be collected."""
    why = evidence.missing.get(TARGET, "")
    if not why.startswith(LOST):
        return None
    return _verdict(FailureClass.INFRA, "target-lost", f"the target went away while {evidence.entry} ran on it", why)


def network_down(evidence: Evidence) -> Verdict | None:
    """Work failed, and a host that its log names in a connection error doesn't answer from the target."""
    failure = evidence.failure
    building = isinstance(failure, (BuildFailed, DeployFailed, StepFailed))
    if not (building or (isinstance(failure, DeadlinePassed) and failure.hop == "build")):
        return None
    dead = [host for host in dead_network(evidence) if not host.say.startswith(NO_SUCH_NAME)]
    if not dead:
        return None
    lines = (f"network: {host.host}: {host.say or 'no answer'}" for host in dead)
    return _verdict(FailureClass.INFRA, "network-down", f"the target can't reach {dead[0].host}", *lines)


def disk_full(evidence: Evidence) -> Verdict | None:
    """The target's disk has no byte left, and a log says that this was what it failed on."""
    full = _FULL_DISK.search(evidence.sections.get("resources", b""))
    if full is None or not any(b"No space left on device" in text for text in evidence.sections.values()):
        return None
    line = full[0].decode(errors="replace").strip()
    return _verdict(FailureClass.INFRA, "disk-full", "the target's disk is full", f"df: {line}")


# --- build and deploy ------------------------------------------------------------------------------------------------


def build_command(evidence: Evidence) -> Verdict | None:
    """A build command ended with an error by itself."""
    failure = evidence.failure
    if not isinstance(failure, BuildFailed):
        return None
    say = f"{evidence.entry}'s build command ended with exit code {failure.exit_code}: {failure.command}"
    killed = "it was killed by signal 9, as the kernel does when memory runs out" if failure.exit_code == KILLED else ""
    unknown = (f"network: {host.host}: {host.say or 'no answer'}" for host in dead_network(evidence))
    return _verdict(FailureClass.BUILD_FAILURE, "command-failed", say, killed, *unknown)


def deploy_step(evidence: Evidence) -> Verdict | None:
    """The platform said that a step of the deploy failed."""
    if not isinstance(evidence.failure, DeployFailed):
        return None
    if evidence.failure.step == LISTENING and ended(evidence) and not stranger(evidence):
        return None  # nobody listens because the app is gone
    what = "the deploy" if evidence.has_app else "the install of the platform"
    return _verdict(FailureClass.DEPLOY_FAILURE, "step-failed", f"{what} failed at {evidence.failure}")


def never_started(evidence: Evidence) -> Verdict | None:
    """The deploy claimed to be done, and the supervisor knows of no process."""
    state = process(evidence)
    if not after_deploy(evidence) or state is None or state.state != "absent" or state.starts:
        return None
    say = f"{evidence.entry} was deployed, but its process was never started"
    return _verdict(FailureClass.DEPLOY_FAILURE, "never-started", say)


def any_host_answers(evidence: Evidence) -> Verdict | None:
    """The front door answers for a host that nobody deployed as it does for the app, so it isn't the app that answers.

    Only a good answer counts: a front door that gives 502 to everybody says nothing of hosts.
    """
    unknown = probe(evidence).unknown_host
    same = probe(evidence).unknown_host_same and front_door_good(evidence) is not None
    if not after_deploy(evidence) or not same or unknown is None or (unknown.status or SERVER_ERROR) >= SERVER_ERROR:
        return None
    say = f"the front door answers {unknown.status} for any host name, so what answers is not {evidence.entry}"
    return _verdict(FailureClass.DEPLOY_FAILURE, "any-host-answers", say)


def foreign_listener(evidence: Evidence) -> Verdict | None:
    """The declared address is held by a process that isn't of this deploy."""
    holder = stranger(evidence)
    if not after_deploy(evidence) or holder is None:
        return None
    say = f"{holder.address} is held by process {holder.pid or '?'}, which is not of this deploy"
    return _verdict(FailureClass.DEPLOY_FAILURE, "foreign-listener", say)


# --- the app ---------------------------------------------------------------------------------------------------------


def addon_silent(evidence: Evidence) -> Verdict | None:
    """A declared addon doesn't answer from the target at the address that the app is given."""
    addon = dead_addon(evidence)
    if not after_deploy(evidence) or addon is None:
        return None
    state = ended(evidence)
    also = f"the app ended because of it or beside it, with exit code {state.exit_code}" if state else ""
    say = f"{addon.name} doesn't answer at {addon.address}, where {evidence.entry} is told to find it"
    return _verdict(FailureClass.ADDON_UNREACHABLE, "probe-no-answer", say, addon_line(addon), also)


def process_ended(evidence: Evidence) -> Verdict | None:
    """The app's process ended, or keeps restarting."""
    state = ended(evidence)
    if not after_deploy(evidence) or state is None:
        return None
    times = f"started {state.starts} times" if state.starts > 1 else "started once"
    again = state.state in ("restarting", "running")
    words = {"running": "ended and was restarted", "restarting": "keeps ending and being restarted"}
    what = words.get(state.state, "ended")
    say = f"{evidence.entry}'s process {what}: {_exit(state.exit_code)}, {times}"
    memory = _oom_line(evidence) if state.exit_code in (KILLED, None) else ""
    return _verdict(FailureClass.APP_CRASH, "restarting" if again else "process-ended", say, memory)


def _exit(code: int | None) -> str:
    if code is None:
        return "exit code unknown"
    if code == KILLED:
        return "exit code 137, killed by signal 9 (out of memory?)"
    return f"exit code {code}" + (f", killed by signal {code - 128}" if 128 < code < 193 else "")


def _oom_line(evidence: Evidence) -> str:
    for name, text in evidence.sections.items():
        match = _OOM.search(text)
        if match is not None:
            start = text.rfind(b"\n", 0, match.start()) + 1
            return f"{name}: " + text[start:].split(b"\n", 1)[0].decode(errors="replace")
    return ""


def app_answers_5xx(evidence: Evidence) -> Verdict | None:
    """The app itself answers 5xx when asked from inside, past the front door."""
    bad = inside_bad(evidence)
    if not after_deploy(evidence) or bad is None:
        return None
    say = f"{evidence.entry} itself {said(bad)}, asked from inside, past the front door"
    other = "" if bad.declared else f"{bad.address} is not the address that it was told to listen on"
    return _verdict(FailureClass.APP_ERROR, "inside-5xx", say, other)


def check_got_5xx(evidence: Evidence) -> Verdict | None:
    """A check got 5xx through a front door that passes good answers on, so the 5xx is the app's own."""
    failure = evidence.failure
    if not isinstance(failure, CheckFailed) or (failure.status or 0) < SERVER_ERROR or failure.status in _PROXY_OWN:
        return None
    if inside_good(evidence) is None or front_door_good(evidence) is None:
        return None
    say = f"{evidence.entry} answers {failure.status} to {failure.title}, though it is up"
    door = "the front door passes its other answers on, so this one is the app's own"
    return _verdict(FailureClass.APP_ERROR, "check-got-5xx", say, door)


# --- the front door --------------------------------------------------------------------------------------------------


def wrong_port(evidence: Evidence) -> Verdict | None:
    """The app answers on another address than it was told, so that the front door finds nobody."""
    pair, front = elsewhere(evidence), front_door_bad(evidence)
    if not after_deploy(evidence) or pair is None or front is None or inside_good(evidence) is None:
        return None
    told, other = pair
    say = f"{evidence.entry} {said(other)}, but it was told to listen on {told.address}, where the front door looks"
    return _verdict(FailureClass.PROXY_502, "wrong-port", say, f"front door: {timed(front)}")


def front_door_5xx(evidence: Evidence) -> Verdict | None:
    """The app answers inside, and the front door gives 5xx or refuses."""
    good, front = inside_good(evidence), front_door_bad(evidence)
    if not after_deploy(evidence) or good is None or front is None:
        return None
    door = f"gives {front.status}" if front.status is not None else said(front)
    say = f"{evidence.entry} {said(good)}, but the front door {door}"
    return _verdict(FailureClass.PROXY_502, "front-door-5xx-inside-ok", say)


def static_front_door(evidence: Evidence) -> Verdict | None:
    """A static site has no app that could err: the front door alone gives 5xx or refuses."""
    front = front_door_bad(evidence)
    if not evidence.static or not after_deploy(evidence) or front is None:
        return None
    say = f"the front door {said(front)} for {evidence.entry}, a static site that it serves itself"
    return _verdict(FailureClass.PROXY_502, "static-front-door", say)


def check_got_502(evidence: Evidence) -> Verdict | None:
    """A check got a 502 or 504, which a front door says for itself, while the app answers inside."""
    failure, good = evidence.failure, inside_good(evidence)
    if not isinstance(failure, CheckFailed) or (failure.status or 0) < SERVER_ERROR or good is None:
        return None
    if failure.status not in _PROXY_OWN and front_door_bad(evidence) is None:
        return None
    got = f"{failure.title} got {failure.status} at the front door"
    say = f"{got}, but {evidence.entry} {said(good)}"
    return _verdict(FailureClass.PROXY_502, "check-got-502-inside-ok", say)


# --- time ------------------------------------------------------------------------------------------------------------


def build_deadline(evidence: Evidence) -> Verdict | None:
    """The build's time was up."""
    failure = evidence.failure
    if not isinstance(failure, DeadlinePassed) or failure.hop != "build":
        return None
    say = f"{evidence.entry}'s build was not done after {failure.seconds:g} s"
    return _verdict(FailureClass.TIMEOUT, "build", say)


def deadline_up(evidence: Evidence) -> Verdict | None:
    """A deadline passed while the process was up; the hop is where the answer stays away."""
    if not _out_of_time(evidence) or not _up(evidence):
        return None
    if isinstance(evidence.failure, NotReady) and inside_good(evidence) and probe(evidence).front_door is None:
        return None  # too late, or shut out by the front door: nobody asked it
    hop, say = _hop(evidence)
    return _verdict(FailureClass.TIMEOUT, hop, say)


def step_deadline(evidence: Evidence) -> Verdict | None:
    """A step that speaks for itself was not done in its time."""
    failure = evidence.failure
    if not evidence.has_app and not isinstance(failure, StepFailed) and _out_of_time(evidence):
        return _verdict(FailureClass.TIMEOUT, "step", str(failure))
    if not isinstance(failure, StepFailed) or failure.deadline_s is None:
        return None
    say = f"{failure.step}, {failure.place}: not done after {failure.deadline_s:g} s"
    return _verdict(FailureClass.TIMEOUT, "step", say, *_output(failure))


def _output(failure: StepFailed) -> Iterator[str]:
    if failure.command:
        yield f"command: {failure.command}"
    yield from (f"output: {line}" for line in failure.output)


def _out_of_time(evidence: Evidence) -> bool:
    failure = evidence.failure
    if isinstance(failure, CheckFailed):
        return failure.status == _GATEWAY_TIMEOUT or (failure.deadline_s is not None and failure.status is None)
    return isinstance(failure, NotReady) or (isinstance(failure, DeadlinePassed) and failure.hop != "build")


def _up(evidence: Evidence) -> bool:
    if evidence.probe is None:
        return False
    if evidence.static:
        return evidence.probe.front_door is not None
    state = process(evidence)
    answers = inside_good(evidence) or inside_timeout(evidence)
    return answers is not None or (state is not None and state.state == "running")


def _hop(evidence: Evidence) -> tuple[str, str]:
    slow, good, front = inside_timeout(evidence), inside_good(evidence), probe(evidence).front_door
    told = declared(evidence)
    if slow is not None and good is None:
        return "app", f"{evidence.entry} runs and takes connections, but {said(slow)}"
    if front is not None and front.error == "timeout":
        within = f"{evidence.entry} {said(good)}, but " if good is not None else ""
        return "front-door", f"{within}the front door gives no answer"
    if good is None and not evidence.static:
        where = told.address if told is not None else "its port"
        return "ready", f"{evidence.entry} runs, but nothing answers on {where}: still starting, or stuck"
    if isinstance(evidence.failure, NotReady):
        late = f"it answers now, but did not within its {evidence.failure.seconds:g} s"
        return "ready", f"{evidence.entry} became ready too late: {late}"
    hop = evidence.failure.hop if isinstance(evidence.failure, DeadlinePassed) else "check"
    return hop, f"the {hop} itself took too long: {evidence.entry} and the front door answer"


# --- content ---------------------------------------------------------------------------------------------------------


def assertion(evidence: Evidence) -> Verdict | None:
    """An assertion in the test's own code failed; beside an app only while that is known to be up."""
    failure = evidence.failure
    if not isinstance(failure, AssertionFailed) or (evidence.has_app and evidence.probe is None):
        return None
    return _verdict(FailureClass.CHECK_FAILED, "assertion", str(failure), *failure.said[1:])


def wrong_content(evidence: Evidence) -> Verdict | None:
    """It answered, and the content is not what the check says."""
    failure = evidence.failure
    if not isinstance(failure, CheckFailed) or (failure.deadline_s is not None and failure.status is None):
        return None
    if failure.status is not None and failure.status >= SERVER_ERROR:
        return None
    if failure.status is None and evidence.probe is None and evidence.has_app:
        return None  # a script's or command's verdict stands only beside an app that is known to be up
    say = f"{failure.title}: expected {failure.expected}, got {failure.got}"
    return _verdict(FailureClass.CHECK_FAILED, "wrong-answer", say)


def step_failed(evidence: Evidence) -> Verdict | None:
    """A step that speaks for itself ended otherwise than it should: there is no app that could be at fault."""
    failure = evidence.failure
    if not isinstance(failure, StepFailed):
        return None
    where, expected, got = f"{failure.step}, {failure.place}", failure.expected, failure.got
    if len(expected) + len(got) <= _SHORT:
        say, lines = f"{where}: expected {expected}, got {got}", [*_output(failure)]
    else:
        say, lines = f"{where}: got {got}", [f"expected: {expected}", *_output(failure)]
    return _verdict(FailureClass.CHECK_FAILED, "step", say, *lines)


_ORDER = (
    (FailureClass.INFRA, (lab_error, target_lost, network_down, disk_full)),
    (FailureClass.BUILD_FAILURE, (build_command,)),
    (FailureClass.DEPLOY_FAILURE, (deploy_step, never_started, foreign_listener, any_host_answers)),
    (FailureClass.ADDON_UNREACHABLE, (addon_silent,)),
    (FailureClass.APP_CRASH, (process_ended,)),
    (FailureClass.APP_ERROR, (app_answers_5xx, check_got_5xx)),
    (FailureClass.PROXY_502, (wrong_port, front_door_5xx, static_front_door, check_got_502)),
    (FailureClass.TIMEOUT, (build_deadline, step_deadline, deadline_up)),
    (FailureClass.CHECK_FAILED, (wrong_content, step_failed, assertion)),
)

BUILT_IN_RULES: tuple[Rule, ...] = tuple(
    Rule(name=f"{cls}/{decide.__name__.replace('_', '-')}", failure_class=cls, decide=decide)
    for cls, rules in _ORDER
    for decide in rules
)
"""Every built-in rule, in the order of the table."""
