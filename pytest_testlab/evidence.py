"""The facts that a failure is classified by: probe results, exit codes, supervisor state. Text in logs comes last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_testlab.errors import TestlabError


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one HTTP request of a probe came to: a status, or an error, never both."""

    address: str
    """host:port, as seen from the target."""
    status: int | None = None
    error: str | None = None
    """`refused`, `timeout`, `reset`, or other words."""
    seconds: float | None = None
    declared: bool = False
    """Whether this is the address that the app was told to listen on (PORT)."""


@dataclass(frozen=True, kw_only=True)
class ProcessState:
    """What the supervisor says of the app's process."""

    state: Literal["running", "exited", "restarting", "absent"]
    pid: int | None = None
    starts: int = 0
    exit_code: int | None = None
    """Of its last end; above 128 = a signal's number + 128."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A socket that listens on the target."""

    address: str
    pid: int | None
    descends: bool
    """Whether its process descends from this deploy."""


@dataclass(frozen=True, kw_only=True)
class AddonProbe:
    """Whether an addon answers at the address that the app's effective environment gives, asked from the target."""

    name: str
    address: str
    answers: bool
    say: str = ""


@dataclass(frozen=True, kw_only=True)
class NetworkProbe:
    """Whether a host outside answers, asked from the target."""

    host: str
    ok: bool
    say: str = ""


@dataclass(frozen=True, kw_only=True)
class ProbeFacts:
    """Everything that the probe of a platform printed, parsed."""

    process: ProcessState | None = None
    listeners: tuple[Listener, ...] = ()
    inside: tuple[Answer, ...] = ()
    front_door: Answer | None = None
    unknown_host: Answer | None = None
    unknown_host_same: bool | None = None
    """Whether a random unknown host was answered as the app is; None when that isn't known."""
    addons: tuple[AddonProbe, ...] = ()
    network: tuple[NetworkProbe, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    """What could not be found out → why."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known of one failed attempt."""

    entry: str
    stage: str
    failure: TestlabError
    """What ended the stage, with its fields."""
    has_app: bool = True
    """Whether there is an app to ask; a tutorial's failure stands by itself."""
    static: bool = False
    """A static site has no process and no inside address."""
    probe: ProbeFacts | None = None
    """None = the probe could not be made; `missing` says why."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Section or fact that is absent → why."""
    sections: Mapping[str, bytes] = field(default_factory=dict)
    """The redacted text of each section, for the decisive lines."""
