"""Runs the checks of an entry, in order, against a deployed app; the first that fails ends them."""

from __future__ import annotations

import difflib
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack

from pytest_testlab.catalog.http_check import check_http
from pytest_testlab.catalog.polling import wait_ready
from pytest_testlab.catalog.script_check import ScriptRunner
from pytest_testlab.catalog.transcript import GOT_CHARACTERS, Asker, one_line
from pytest_testlab.errors import CheckFailed, DeadlinePassed, DeployFailed, NoAnswer, ending
from pytest_testlab.model import Check, CommandCheck, Deployment, Entry, HttpCheck, PlatformCheck, ScriptCheck
from pytest_testlab.protocols import HttpAnswer, Observer, Performs, Platform, Target

__all__ = ["ask_as_a_stranger", "run_checks", "wait_ready"]

STRANGER_S = 10.0
ALIKE = 0.9
"""From this similarity on two bodies are the same page (pages differ in times and tokens)."""
COMPARED_BYTES = 4096
_END_BYTES = 4096
_WORDS = re.compile(rb"\w+|[^\w\s]")


def run_checks(
    target: Target, platform: Platform, deployment: Deployment, observe: Observer, *, deadline: float
) -> None:
    """Run every step and every check of the entry, each a phase: `step: 1 NAME`, `check: NAME`.

    `deadline` is the test's own, by the monotonic clock. Raises `CheckFailed` at the first that fails, `DeadlinePassed`
    when the test's time is up before one could begin, `InfraError`.
    """
    with ExitStack() as stack:
        runner = _Runner(target, platform, deployment, observe, stack)
        for kind, step, check, phase in _in_order(deployment.app.entry):
            left = deadline - time.monotonic()
            if left <= 0:
                timeout_s = deployment.app.entry.timeout_s
                raise DeadlinePassed("check", timeout_s, f"time left for {kind} {step} ({check.name})")
            with observe.phase(phase):
                started = time.monotonic()
                runner.run(kind, step, check, min(left, check.within_s or left))
                observe.write("check", f"{kind} {step} ({check.name}): passed in {time.monotonic() - started:.2f} s\n")


def _in_order(entry: Entry) -> Iterator[tuple[str, int, Check, str]]:
    """(its kind, its number, itself, its phase): steps are told in the order in which they come."""
    width = len(str(len(entry.steps)))
    for number, step in enumerate(entry.steps, start=1):
        yield "step", number, step, f"step: {number:0{width}} {step.name}"
    for number, check in enumerate(entry.checks, start=1):
        yield "check", number, check, f"check: {check.name}"


class _Runner:
    """What the checks of one entry share."""

    def __init__(
        self, target: Target, platform: Platform, deployment: Deployment, observe: Observer, stack: ExitStack
    ) -> None:
        self._target = target
        self._platform = platform
        self._deployment = deployment
        self._observe = observe
        self._stack = stack
        self._scripts: ScriptRunner | None = None

    def run(self, kind: str, step: int, check: Check, within_s: float) -> None:
        title = f"{kind} {step} ({check.name})"
        try:
            match check:
                case HttpCheck():
                    asker = Asker(self._platform.client(self._deployment), self._observe)
                    check_http(asker, step, check, within_s, self._deployment.app.host)
                case CommandCheck():
                    self._observe.write("check", f"{title}, on the target: {check.command}\n")
                    self._command(step, check, within_s)
                case ScriptCheck():
                    self._observe.write("check", f"{title}, on the lab host: {check.script}\n")
                    self._script_runner().run(step, check, within_s)
                case PlatformCheck():
                    self._observe.write("check", f"{title}, by the platform: {check.action}\n")
                    self._perform(step, check, within_s)
        except CheckFailed as failure:
            failure.kind = kind
            # what was expected stands below what was got
            self._observe.write("http" if isinstance(check, HttpCheck) else "check", f"{failure}\n")
            raise

    def _perform(self, step: int, check: PlatformCheck, within_s: float) -> None:
        if not isinstance(self._platform, Performs):
            say = f"the platform {self._platform.name}, which can't"
            raise CheckFailed(step, check.name, f"a platform that can {check.action}", say)
        self._platform.perform(self._target, self._deployment, check, step, self._observe, within_s)

    def _command(self, step: int, check: CommandCheck, within_s: float) -> None:
        deployment = self._deployment
        result = self._target.run(check.command, timeout_s=within_s, cwd=deployment.folder, env=deployment.env)
        for name, output in (("stdout", result.stdout), ("stderr", result.stderr)):
            if output:
                self._observe.write("check", f"--- {name}, {len(output)} bytes ---\n".encode() + output + b"\n")
        expected = f"exit code {check.exit_code}"
        if result.timed_out:
            raise CheckFailed(step, check.name, expected, f"no end within {within_s:g} s", deadline_s=within_s)
        if result.exit_code != check.exit_code:
            said = _end_of(result.stderr) or _end_of(result.stdout) or "it printed nothing"
            raise CheckFailed(step, check.name, expected, f"exit code {result.exit_code}: {said}")
        if check.stdout is not None and check.stdout not in result.stdout.decode(errors="replace"):
            raise CheckFailed(
                step, check.name, f"output that contains {check.stdout!r}", f"{one_line(result.stdout)!r}"
            )

    def _script_runner(self) -> ScriptRunner:
        if self._scripts is None:
            from pytest_testlab.target.names import NamesProxy  # imports asyncio: only for those who have scripts

            app = self._deployment.app
            doors = {app.host: self._deployment.front_door} if app.entry.deploys else {}
            names = self._stack.enter_context(NamesProxy(doors))
            self._scripts = ScriptRunner(self._deployment, names, self._observe)
        return self._scripts


def _end_of(output: bytes) -> str:
    return ending(one_line(output.strip()[-_END_BYTES:], _END_BYTES), GOT_CHARACTERS) if output.strip() else ""


def ask_as_a_stranger(platform: Platform, deployment: Deployment, observe: Observer) -> None:
    """Prove that a random unknown host isn't answered as the app is; raises `DeployFailed` when it is.

    Otherwise a check could pass on another app's page, or on one that is given to everybody.
    """
    path = deployment.app.entry.ready.http
    host = f"nobody-{secrets.token_hex(6)}.testlab.internal"
    try:
        theirs = Asker(platform.client(deployment, host=host), observe, who="as an unknown host: ").ask(
            "GET", path, STRANGER_S
        )
        ours = Asker(platform.client(deployment), observe).ask("GET", path, STRANGER_S)
    except NoAnswer:
        # No answer is not the app's answer; whether the app still gives one is for the checks to say.
        return
    if _alike(ours, theirs):
        raise DeployFailed("front door", f"an unknown host gets the app's own answer to GET {path}")


def _alike(ours: HttpAnswer, theirs: HttpAnswer) -> bool:
    """Whether two answers are one page. Errors don't count: they look the same whoever gives them."""
    if ours.status >= 400 or ours.status != theirs.status:
        return False
    if ours.headers.get("location") != theirs.headers.get("location"):
        return False
    our_words, their_words = (_WORDS.findall(answer.body[:COMPARED_BYTES]) for answer in (ours, theirs))
    return difflib.SequenceMatcher(None, our_words, their_words, autojunk=False).ratio() >= ALIKE
