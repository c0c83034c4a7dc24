"""The words of the lab as types: what is tested, where, and what came of it.

Frozen, keyword-only, and made of plain values, so that anything here can be compared, journaled and sent to a worker.
Times are seconds; moments are aware datetimes in UTC.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol


class Status(StrEnum):
    """What came of a test. `error` is an infrastructure fault and stands outside every rate."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    FLAKY = "flaky"
    SHED = "shed"
    NOT_RUN = "not_run"


class FailureClass(StrEnum):
    """Why a test failed, in order of precedence: where several fit, the first wins."""

    INFRA = "infra"
    BUILD_FAILURE = "build-failure"
    DEPLOY_FAILURE = "deploy-failure"
    ADDON_UNREACHABLE = "addon-unreachable"
    APP_CRASH = "app-crash"
    APP_ERROR = "app-error"
    PROXY_502 = "proxy-502"
    TIMEOUT = "timeout"
    CHECK_FAILED = "check-failed"
    INDETERMINATE = "indeterminate"


LEASE_LOST = "infra/lease-lost"
"""The rule of an attempt on a target that was another's by its end; it holds against whatever else was said of that."""


class Priority(StrEnum):
    """How much a test matters when the night gets tight; P0 is never shed."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"


class Suite(StrEnum):
    """The four kinds of tests of a catalog."""

    APPS = "apps"
    DEMOS = "demos"
    TUTORIALS = "tutorials"
    PLATFORM = "platform"


class Stage(StrEnum):
    """What a test of an entry does; a later stage is blocked when an earlier one failed."""

    INSTALL = "install"
    CHECK = "check"


# --- the catalog -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SecretRef:
    """A secret by reference: TESTLAB_SECRET_<NAME>, or the file of that name in `testlab_secrets_dir`."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A value made anew for each deploy, `length` letters and digits."""

    length: int


EnvValue = str | SecretRef | Generated


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A tool that must be on the target, e.g. `python3>=3.11`."""

    tool: str
    specifier: str = ""
    """A PEP 440 specifier; empty = any version."""

    def __str__(self) -> str:
        return self.tool + self.specifier


@dataclass(frozen=True, kw_only=True)
class Ready:
    """When an app counts as up: any answer below 500 on `http`, through the front door, within `within_s`."""

    http: str = "/"
    within_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class HttpCheck:
    """A request through the front door and what its answer must hold."""

    name: str
    path: str
    method: str = "GET"
    status: int | None = None
    statuses: tuple[int, ...] = ()
    """Any of these will do; empty = `status` decides."""
    contains: str | None = None
    json: Mapping[str, Any] = field(default_factory=dict)
    """Dotted path → the value that must stand there."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header → text that its value must contain."""
    follow: bool = False
    """Whether redirects that stay with the app are followed, and the last answer is the one that counts."""
    within_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class ScriptCheck:
    """A script on the lab host; exit code 0 is a pass. `script` is relative to the entry's folder."""

    name: str
    script: PurePosixPath
    within_s: float | None = None
    """None = what is left of the test's own timeout."""


@dataclass(frozen=True, kw_only=True)
class CommandCheck:
    """A command on the target, in the app's folder and environment."""

    name: str
    command: str
    exit_code: int = 0
    stdout: str | None = None
    """Text that the standard output must contain."""
    within_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class PlatformCheck:
    """Something that only a platform of its kind can do and judge (`protocols.Performs`)."""

    name: str
    action: str
    """The platform's own word for it."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What it needs to know."""
    within_s: float | None = None


Check = HttpCheck | ScriptCheck | CommandCheck | PlatformCheck


class Subject(Protocol):
    """What a test is a test of, as far as the plan, the store and the selection must know it; an entry is one."""

    @property
    def name(self) -> str:
        """Unique in its catalog."""
        ...

    @property
    def suite(self) -> Suite:
        """Its kind."""
        ...

    @property
    def priority(self) -> Priority:
        """How much it matters."""
        ...

    @property
    def tags(self) -> tuple[str, ...]:
        """Words to select it by."""
        ...

    @property
    def owner(self) -> str | None:
        """Whose it is."""
        ...

    @property
    def timeout_s(self) -> float:
        """Of each of its tests."""
        ...

    @property
    def expects_failure(self) -> FailureClass | None:
        """The class of failure with which alone it passes."""
        ...

    @property
    def env(self) -> Mapping[str, EnvValue]:
        """The environment that its tests are given, with secrets by reference."""
        ...


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One `testlab.toml`, or a file of another format: an app or a demo, as its author wrote it."""

    name: str
    suite: Suite
    file: Path
    """The absolute path of its testlab.toml; its folder is what gets uploaded."""
    label: str = ""
    """What host names and folders are made from; "" = the name, which is a label of a host name then."""
    priority: Priority = Priority.P1
    tags: tuple[str, ...] = ()
    owner: str | None = None
    timeout_s: float = 600.0
    """Of each test of the entry."""
    alone: bool = False
    """Whether its target must be made blank, and proven so, before it and after it."""
    requires: tuple[Requirement, ...] = ()
    addons: tuple[str, ...] = ()
    expects_failure: FailureClass | None = None
    rejected: bool = False
    """Whether it passes when its deploy is rejected, in whatever way is the app's own fault, and only then."""
    build: tuple[str, ...] = ()
    command: str | None = None
    """What runs, by `sh -c`, with PORT set; None = a static site."""
    static: PurePosixPath | None = None
    """The folder to serve, relative to the entry's; None = `command` runs."""
    recipe: str | None = None
    """The platform whose own recipe in the folder says how it is built and run, in place of `command` and `static`."""
    subfolder: PurePosixPath = field(default_factory=PurePosixPath)
    """Where the app lies below the folder of `file`."""
    ready: Ready = Ready()
    env: Mapping[str, EnvValue] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    steps: tuple[Check, ...] = ()
    """What a demo shows, in order, before its checks."""
    unproven: str = ""
    """Why its checks would prove nothing; the stage `check` fails with it."""

    @property
    def deploys(self) -> bool:
        """Whether there is an app to put on a platform; a demo may be nothing but steps."""
        return self.command is not None or self.static is not None or self.recipe is not None

    @property
    def folder(self) -> Path:
        """The entry's own folder."""
        return self.file.parent / self.subfolder


@dataclass(frozen=True, kw_only=True)
class Application:
    """An entry about to be deployed: its effective environment and the nonce that makes its host name unguessable."""

    entry: Entry
    nonce: str
    env: Mapping[str, str] = field(default_factory=dict)
    """The entry's [env] with its secrets in clear; never journaled. Addons add theirs on the platform."""
    secret_values: frozenset[str] = frozenset()
    """Values of `env` that must be masked wherever they turn up."""

    @property
    def name(self) -> str:
        """The entry's name, as hosts and folders can be called."""
        return self.entry.label or self.entry.name

    @property
    def host(self) -> str:
        """The host name that the front door knows this deploy by; no name server does."""
        return f"{self.name}-{self.nonce}.testlab.internal"


def new_nonce() -> str:
    """Twelve hexadecimal digits, fresh for each deploy."""
    return secrets.token_hex(6)


# --- servers and targets ---------------------------------------------------------------------------------------------


class Claim:
    """The lease of a server that was there before. As it stands, that of a provider that nobody competes with."""

    @property
    def lost(self) -> str:
        """Why the server is another's by now; "" while it is ours."""
        return ""

    def release(self) -> None:
        """Give the server back; may be called twice, never raises."""


@dataclass(frozen=True, kw_only=True)
class ServerRequest:
    """What a run asks of a provider for one slot of its pool."""

    run: str
    slot: int
    image: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    trigger: str = ""
    """Who started the run, as its provenance has it: to tell others who come for the same server."""
    snapshot: str | None = None
    """What to start from in place of the image's bare disk: what `Snapshots.snapshot` returned."""
    expires_at: dt.datetime | None = None
    """When the reaper may take the server, unless that is put off; None = the provider has nothing for a reaper."""
    claim: Callable[[str], Claim] = field(default=lambda _name: Claim(), repr=False, compare=False)
    """Takes the lease of a server that was there before: to be called with its name, or what else is the machine's own,
    before it is touched. Raises `Taken` when somebody else has it, another `InfraError` when the store can't say.
    The provider releases it when it gives the server back. What a provider makes anew needs none."""
    say: Callable[[str], object] = field(default=lambda _text: None, repr=False, compare=False)
    """For what is tried on the way, and what came of it: goes to the run's transcript at once, with secrets masked.
    Several lines are welcome, such as those of a console that goes with its server when `create` fails."""

    @property
    def name(self) -> str:
        """What to call the server: the same however often it is asked for, so that a lost answer can be made up for."""
        return f"testlab-{self.run}-{self.slot}"


@dataclass(frozen=True, kw_only=True)
class SshAddress:
    """How a server is reached. Keys are OpenSSH text; the host's is pinned, never trusted on first use."""

    host: str
    port: int
    user: str
    private_key: str = field(repr=False)
    host_key: str
    jump: SshAddress | None = None
    """The SSH server to go through, as whose network sees `host`; None where it is reached directly."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A machine, or what stands for one, that a provider made."""

    name: str
    provider: str
    epoch: int = 0
    """Counts blankings: what was handed out under an older epoch no longer counts."""
    ssh: SshAddress | None = None
    """None where no SSH leads there (the memory provider)."""
    image: str | None = None
    snapshot: str | None = None
    """The golden snapshot that it was made from, and that `blank` leads back to; None = the image's bare disk."""
    isolation: str = ""
    """What separates it from the lab host, in words a person reads: "no isolation", "own kernel"."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the provider knows and a platform may use: `root` (working folder), `ports` ("20000-20049"), `user`.
    A blanking that changes any of them ends the lines that there were."""
    proof: Mapping[str, str] = field(default_factory=dict)
    """How blankness was proven, recorded with the run."""
    eur_per_hour: float | None = None
    """Of each hour begun, taxes and addresses included; None where nobody charges anything."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """Something that a provider made for the lab and that costs money or room until somebody removes it."""

    kind: str
    """`server`, `snapshot`, `primary-ip`, `ssh-key`, `network`, … One word."""
    id: str
    """The provider's own, unique among those of its kind."""
    name: str
    provider: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """As `pytest_testlab.labels` writes them."""
    created_at: dt.datetime | None = None
    eur_per_hour: float | None = None
    """None where nobody charges anything, or the price isn't known."""


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """What a command on a target came to."""

    exit_code: int | None
    """None when its deadline passed; the command and its children were killed on the target then."""
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def timed_out(self) -> bool:
        """Whether the deadline passed."""
        return self.exit_code is None

    @property
    def text(self) -> str:
        """Its standard output as UTF-8; what isn't is replaced."""
        return self.stdout.decode(errors="replace")


@dataclass(frozen=True, kw_only=True)
class FrontDoor:
    """Where users come in on a target, as the lab reaches it."""

    host: str
    port: int
    scheme: Literal["http", "https"] = "http"
    via: SshAddress | None = None
    """The SSH server to come through: what the server's own address has as `jump`."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """An app that a platform put, or began to put, on a target."""

    app: Application
    front_door: FrontDoor
    folder: str
    """The absolute path on the target of the app's folder: the working directory of its commands."""
    port: int | None
    """What PORT says; None for a static site."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The app's whole effective environment, addons included."""
    secret_values: frozenset[str] = frozenset()
    """Whatever of `env` must be masked: the app's own, and what the platform generated."""
    addons: Mapping[str, str] = field(default_factory=dict)
    """Addon → the address at which the app is told to find it (a URL; may be overridden by the entry)."""
    data: Mapping[str, str] = field(default_factory=dict)
    """The platform's own notes."""
    replaces: str = ""
    """The app of an earlier run that its deploy removes, on a server that was kept."""

    @property
    def url(self) -> str:
        """The app's address as a user would type it; the name is known to the lab only."""
        return f"{self.front_door.scheme}://{self.app.host}"


# --- bundles ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a bundle, to be collected: by `script` or from `files` on the target, or `content` of the lab's own.

    `script` is a fragment of POSIX sh. It prints the section on standard output, of which the last `tail_bytes` are
    kept. To say that there is nothing to show it calls `absent "why"`, a function that the collector defines, which
    ends the fragment. Files whose names begin with `$testlab_scratch` are its own, and removed with the collection.

    `files` are the absolute paths of a log and what was rotated away before it, oldest first: for a log they do what a
    script could, with a third of the processes. Their end is kept, of `tail_bytes`. What isn't a regular file is passed
    over, links too: they could lead anywhere. When nothing is left, the section is absent because of `files_absent`.
    """

    name: str
    source: str
    """For people: the file, the command, or the lab's own record that it comes from."""
    script: str | None = None
    files: tuple[str, ...] = ()
    files_absent: str = "there is no such file, or it is empty"
    content: bytes | None = None
    absent: str | None = None
    """Known beforehand: why there is nothing."""
    tail_bytes: int = 65_536
    timeout_s: int = 5


@dataclass(frozen=True, kw_only=True)
class CollectedSection:
    """One part of a bundle, collected, bounded and redacted."""

    name: str
    source: str
    text: bytes
    size: int
    """Bytes at the source, before the tail bound."""
    absent: str | None = None

    @property
    def truncated(self) -> bool:
        """Whether the beginning was cut off."""
        return self.absent is None and self.size > len(self.text)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The class of a failure, the rule that decided it, and the lines that prove it."""

    failure_class: FailureClass
    rule: str
    """`<class>/<what fired>`, e.g. `proxy-502/front-door-5xx-inside-ok`."""
    say: str
    """One sentence that names the cause."""
    lines: tuple[str, ...] = ()
    """The decisive evidence, most telling first."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """All that was kept of one attempt at one test."""

    sections: tuple[CollectedSection, ...]
    verdict: Verdict | None
    """None when nothing failed."""
    headline: tuple[str, ...]
    """At most 12 lines."""
    redacted: int
    """Spans that were masked."""


ON_SERVER = "on-server"
"""The mode of a run on a server that was kept, and not blank: it is in no rate, estimate, diff or history."""


# --- runs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a run was: recorded before anything else of it."""

    run: str
    mode: str
    trigger: str
    """`scheduled-nightly`, `manual:<user>` (that, by hand), `cli:<user>`, `web:<user>`, `api:<name of the token>`."""
    actor: str
    platform: str
    provider: str
    image: str
    branch: str
    sha: str
    """Commit of the catalog's checkout; empty where there is none."""
    dirty: bool
    runner_version: str
    pool: int
    budget_s: float
    started_at: dt.datetime
    sources: Mapping[str, str] = field(default_factory=dict)
    """Each source's ref, by name."""
    session: str | None = None
    """The name that the runs of one session have in common, its first one's; None where a session has but one run."""

    @property
    def lane(self) -> str:
        """Runs of one lane can be compared."""
        return "/".join((self.mode, self.branch or "-", self.platform, self.provider, self.image or "-"))


def new_run_id(now: dt.datetime) -> str:
    """A run's name: sorts by time, can be typed, e.g. `20261121-0231-k3f9`."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return f"{now:%Y%m%d-%H%M}-" + "".join(secrets.choice(letters) for _ in range(4))
