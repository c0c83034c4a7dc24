"""Every error that the lab raises on purpose.

`UsageError` is the user's to mend: one line, no traceback, exit 2 from `testlab` and 4 from pytest.
`InfraError` is the lab's or the server's fault: a test that meets it ends as `error`, class `infra`.
`StageFailure` and its kinds are what a test of the catalog can die of; they carry fields, because the
classifier decides on facts and not on text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class TestlabError(Exception):
    """The root of every error raised by the lab on purpose."""

    __test__ = False


class UsageError(TestlabError):
    """Something that the user can mend; its text is one line that says how."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong with one file of a catalog; its text is one line."""

    file: Path
    message: str
    key: str = ""
    """The key's full name, list items counted from 1: `checks[1].contains`; empty when it isn't about a key."""
    line: int | None = None
    """Counted from 1; None when it isn't about a line."""

    def __str__(self) -> str:
        place = str(self.file)
        if self.file.is_absolute() and self.file.is_relative_to(Path.cwd()):
            place = str(self.file.relative_to(Path.cwd()))
        parts = (place if self.line is None else f"{place}:{self.line}", self.key, self.message)
        return one_line(": ".join(part for part in parts if part))


def one_line(text: str) -> str:
    """The text with whatever would break a line or steer a terminal written as an escape."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def beginning(text: str, most: int) -> str:
    """The text, or as much of its beginning as `most` characters allow, with a mark: secrets are masked beside it."""
    return text if len(text) <= most else text[: most - 1] + "…"


def ending(text: str, most: int) -> str:
    """The text, or as much of its end as `most` characters allow, with the same mark before it."""
    return text if len(text) <= most else "…" + text[1 - most :]


class CatalogError(UsageError):
    """Files of a catalog are malformed; its text has a line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)  # what pickle calls the class with again

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class InfraError(TestlabError):
    """The server, SSH, the provider, the network or the lab itself is at fault."""


class Taken(InfraError):
    """Somebody else has the server. `holder` says who, in words: a lease in the store, or one on the server."""

    def __init__(self, server: str, holder: object | None) -> None:
        super().__init__(f"server {server} is in use by {holder or 'another run'}")
        self.holder = holder


class NotBlankError(InfraError):
    """A server could not be proven blank; no test may run on it."""


class StageFailure(TestlabError):
    """A stage of a test failed; the subclass says at which hop, its fields say how."""


class BuildFailed(StageFailure):
    """A build command ended with an error by itself."""

    def __init__(self, command: str, exit_code: int) -> None:
        super().__init__(f"build command failed with exit code {exit_code}: {command}")
        self.command = command
        self.exit_code = exit_code


class DeployFailed(StageFailure):
    """The platform failed before the app was to run, outside the build commands."""

    def __init__(self, step: str, message: str) -> None:
        super().__init__(f"{step}: {message}")
        self.step = step


class DeadlinePassed(StageFailure):
    """A deadline passed. `hop` names where: `build`, `ready`, `check`, `command`, `script`, `test`."""

    def __init__(self, hop: str, seconds: float, waiting_for: str) -> None:
        super().__init__(f"no {waiting_for} within {seconds:g} s")
        self.hop = hop
        self.seconds = seconds
        self.waiting_for = waiting_for


class NotReady(StageFailure):
    """The front door never gave an answer below 500 for the app within its time.

    `status` is the last status seen there, None where there was no answer at all.
    """

    def __init__(self, path: str, seconds: float, status: int | None, say: str) -> None:
        super().__init__(f"GET {path} through the front door: {say}, for {seconds:g} s")
        self.path = path
        self.seconds = seconds
        self.status = status


class CheckFailed(StageFailure):
    """A check got an answer that is not what it says. `step` counts from 1."""

    def __init__(
        self,
        step: int,
        name: str,
        expected: str,
        got: str,
        status: int | None = None,
        deadline_s: float | None = None,
    ) -> None:
        super().__init__(step, name, expected, got)
        self.kind = "check"
        """Or `step`, of a demo."""
        self.step = step
        self.name = name
        self.expected = expected
        self.got = got
        self.status = status
        """The HTTP status of the last answer; None when the check isn't an HTTP check or got no answer."""
        self.deadline_s = deadline_s
        """Set when the check ended because its time was up without any answer (seconds)."""

    @property
    def title(self) -> str:
        """Which one, in words."""
        return f"{self.kind} {self.step} ({self.name})"

    def __str__(self) -> str:
        return f"{self.title}: expected {self.expected}, got {self.got}"


class StepFailed(StageFailure):
    """A step of a tutorial, or of a demo without an app, didn't come to what it should. It speaks for itself."""

    def __init__(
        self,
        step: str,
        place: str,
        expected: str,
        got: str,
        *,
        command: str = "",
        output: Iterable[str] = (),
        deadline_s: float | None = None,
    ) -> None:
        super().__init__(f"{step}, {place}: expected {expected}, got {got}")
        self.step = step
        """Which one, in words: `block 3 (install)`."""
        self.place = place
        """Its file and line."""
        self.expected = expected
        self.got = got
        self.command = command
        """The one that failed, where that is known."""
        self.output = tuple(output)
        """The last lines of what it said."""
        self.deadline_s = deadline_s
        """Set when its time was up (seconds)."""


class AssertionFailed(StageFailure):
    """An assertion in a test's own code failed. `said` are its words, at least one line; `place` is `file:line`."""

    def __init__(self, place: str, said: tuple[str, ...]) -> None:
        super().__init__(f"{place}: {said[0]}")
        self.place = place
        self.said = said


class TestRaised(StageFailure):
    """A test's own code raised something that is neither an assertion nor the lab's."""

    def __init__(self, place: str, kind: str, said: tuple[str, ...]) -> None:
        super().__init__(f"{place} raised {kind}: {said[0]}")
        self.place = place
        self.said = said


class RequirementMissing(TestlabError):
    """The target lacks something that an entry requires; the test is skipped with this text."""


class NoAnswer(TestlabError):
    """An HTTP request got no answer. `kind` is `refused`, `timeout`, `reset` or `other`."""

    def __init__(self, kind: str, say: str) -> None:
        super().__init__(say)
        self.kind = kind
        self.asked: tuple[int, str, float] | None = None
        """Which request of a test it was, counted from 1, what it asked for, and for how many seconds."""
