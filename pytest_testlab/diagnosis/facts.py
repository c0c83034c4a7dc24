"""Questions that the rules ask of the evidence; each answers from facts alone."""

from __future__ import annotations

from pytest_testlab.errors import BuildFailed, DeadlinePassed, DeployFailed, StageFailure
from pytest_testlab.evidence import AddonProbe, Answer, Evidence, Listener, NetworkProbe, ProbeFacts, ProcessState

NOTHING = ProbeFacts()
SERVER_ERROR = 500
LISTENING = "listening"
"""The step of a deploy that asks, once the app has answered, who listens; the app may have crashed by then."""
KILLED = 137
"""The exit code of a process that was killed by signal 9."""


def probe(evidence: Evidence) -> ProbeFacts:
    """What the probe found; nothing where it could not be made."""
    return evidence.probe or NOTHING


def after_deploy(evidence: Evidence) -> bool:
    """Whether the app was to run when the stage failed, so that its process and its answers mean something."""
    failure = evidence.failure
    if isinstance(failure, DeadlinePassed):
        return failure.hop != "build"
    if isinstance(failure, DeployFailed):
        return failure.step == LISTENING
    return isinstance(failure, StageFailure) and not isinstance(failure, BuildFailed)


def dead_addon(evidence: Evidence) -> AddonProbe | None:
    """The first addon that doesn't answer."""
    return next((addon for addon in probe(evidence).addons if not addon.answers), None)


def dead_network(evidence: Evidence) -> tuple[NetworkProbe, ...]:
    """The hosts that don't answer from the target."""
    return tuple(host for host in probe(evidence).network if not host.ok)


def process(evidence: Evidence) -> ProcessState | None:
    """What the supervisor says; None for a static site, which has no process."""
    return None if evidence.static else probe(evidence).process


def inside(evidence: Evidence) -> tuple[Answer, ...]:
    """What inside addresses answered, without those that are known to be held by others than this deploy."""
    found = probe(evidence)
    ours = {listener.address for listener in found.listeners if listener.descends}
    others = {listener.address for listener in found.listeners if listener.pid is not None} - ours
    return tuple(answer for answer in found.inside if answer.address not in others)


def declared(evidence: Evidence) -> Answer | None:
    """What came of asking the address that the app was told to listen on."""
    return next((answer for answer in inside(evidence) if answer.declared), None)


def inside_good(evidence: Evidence) -> Answer | None:
    """An inside address that answers below 500; the declared one first."""
    good = [a for a in inside(evidence) if a.status is not None and a.status < SERVER_ERROR]
    return next(iter(sorted(good, key=lambda answer: not answer.declared)), None)


def inside_bad(evidence: Evidence) -> Answer | None:
    """The inside answer of 500 or above that speaks for the app.

    That of the declared address; another's only when no address answers below 500.
    """
    told = declared(evidence)
    if told is not None and told.status is not None:
        return told if told.status >= SERVER_ERROR else None
    if inside_good(evidence) is not None:
        return None
    return next((a for a in inside(evidence) if a.status is not None and a.status >= SERVER_ERROR), None)


def inside_timeout(evidence: Evidence) -> Answer | None:
    """The inside address that took the connection and gave no answer in time; the declared one first."""
    slow = [answer for answer in inside(evidence) if answer.error == "timeout"]
    return next(iter(sorted(slow, key=lambda answer: not answer.declared)), None)


def front_door_bad(evidence: Evidence) -> Answer | None:
    """The front door's answer if it is 500 or above, or no answer for another reason than time."""
    front = probe(evidence).front_door
    if front is None:
        return None
    bad = front.error != "timeout" if front.status is None else front.status >= SERVER_ERROR
    return front if bad else None


def front_door_good(evidence: Evidence) -> Answer | None:
    """The front door's answer if it is below 500."""
    front = probe(evidence).front_door
    return front if front is not None and front.status is not None and front.status < SERVER_ERROR else None


def elsewhere(evidence: Evidence) -> tuple[Answer, Answer] | None:
    """The declared address that refuses and another inside address that answers: the app listens on the wrong one."""
    told = declared(evidence)
    if told is None or told.status is not None or told.error == "timeout":
        return None
    other = next((a for a in inside(evidence) if not a.declared and a.status is not None), None)
    return (told, other) if other is not None else None


def stranger(evidence: Evidence) -> Listener | None:
    """Who holds the declared address although it doesn't descend from this deploy; None when one that does is there."""
    told = {answer.address for answer in probe(evidence).inside if answer.declared}
    there = [listener for listener in probe(evidence).listeners if listener.address in told]
    if any(listener.descends or listener.pid is None for listener in there):
        return None
    return there[0] if there else None


def ended(evidence: Evidence) -> ProcessState | None:
    """The process if it ended or keeps restarting.

    One that left and still answers where it was told to is not counted: it went into the background.
    """
    state = process(evidence)
    if state is None:
        return None
    if state.state == "restarting" or (state.state == "running" and state.starts > 1):
        return state
    if state.state == "running" or (state.state == "absent" and state.starts == 0):
        return None
    told = declared(evidence)
    serving = told is not None and told.status is not None
    return None if serving and state.exit_code == 0 else state


def said(answer: Answer) -> str:
    """An answer in words: "answers 200 on 127.0.0.1:5000"."""
    if answer.status is not None:
        return f"answers {answer.status} on {answer.address}"
    if answer.error == "timeout":
        return f"gives no answer on {answer.address}"
    words = {"refused": "refuses the connection", "reset": "resets the connection"}
    return f"{words.get(answer.error or '', answer.error or 'fails')} on {answer.address}"


def timed(answer: Answer) -> str:
    """An answer in words with its time: "answers 200 on 127.0.0.1:5000 in 0.012 s"."""
    waited = answer.seconds is not None and (answer.status is not None or answer.error == "timeout")
    return said(answer) + (f" in {answer.seconds:g} s" if waited else "")


def addon_line(addon: AddonProbe) -> str:
    """What an addon's probe found, in words."""
    return f"addon {addon.name}: " + ("answers" if addon.answers else f"no answer at {addon.address}: {addon.say}")


def fact_lines(evidence: Evidence) -> tuple[str, ...]:
    """The probe's facts, a line each, in the order in which a person would ask for them.

    Of an app that wasn't to run yet only the network's are told: the others would say what nobody doubts.
    """
    found = probe(evidence)
    network = [f"network: {host.host}: {host.say or ('answers' if host.ok else 'no answer')}" for host in found.network]
    if not after_deploy(evidence):
        return tuple(network)
    lines: list[str] = []
    state = process(evidence)
    if state is not None:
        code = f", last exit code {state.exit_code}" if state.exit_code is not None else ""
        lines.append(f"process: {state.state}, started {state.starts} time{'s' * (state.starts != 1)}{code}")
    lines += [f"inside: {'the app' if a.declared else 'another port'} {timed(a)}" for a in found.inside[:3]]
    if found.front_door is not None:
        lines.append(f"front door: {timed(found.front_door)}")
    return (*lines, *(addon_line(addon) for addon in found.addons), *network)
