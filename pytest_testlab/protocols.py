"""The seams: what a provider, a target and a platform must be able to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from pytest_testlab.evidence import Evidence
from pytest_testlab.model import (
    Application,
    CommandResult,
    Deployment,
    Entry,
    FailureClass,
    PlatformCheck,
    Resource,
    Section,
    Server,
    ServerRequest,
    Verdict,
)


class Target(Protocol):
    """A server with a line to it. Every call is bounded in time; a lost line raises `InfraError`."""

    server: Server

    def run(
        self,
        script: str,
        *,
        timeout_s: float,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> CommandResult:
        """Run a POSIX sh script on the target and return what it came to.

        At the deadline the script and all it started are killed *on the target*, and `exit_code` is None.
        Neither the script nor the values of `env` show in the target's process list. The environment is built from
        an allow-list; nothing of the lab's own leaks into it.
        """
        ...

    def upload(self, folder: Path, destination: str, *, timeout_s: float = 120.0) -> None:
        """Copy a folder's content to a new folder on the target through one tar pipe."""
        ...

    def close(self) -> None:
        """End the line; may be called twice."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """What a target may do besides: have its line ready for a script before there is one."""

    def prepare(self) -> None:
        """Do in the background what can be done beforehand; returns at once, never raises, may be repeated."""
        ...

    def run_prepared(self, script: str, *, timeout_s: float) -> CommandResult:
        """As `Target.run`, sooner where `prepare` was called."""
        ...


class Provider(Protocol):
    """Makes servers. Every call is bounded in time and safe to repeat."""

    name: str
    default_platform: str
    """The platform to put apps on unless another is named."""
    blank_between_units: bool
    """Whether a server must be blanked and proven before each unit, because nothing else separates units."""

    def create(self, request: ServerRequest) -> Server:
        """Make the server of a slot, blank; raises `InfraError` with the reason."""
        ...

    def blank(self, server: Server) -> Server:
        """The server under a new epoch, proven blank; raises `NotBlankError` rather than hand over a used server."""
        ...

    def destroy(self, server: Server) -> None:
        """Remove the server and all that runs on it; gone already = done."""
        ...

    def owned(self) -> Iterable[Server]:
        """Every server that this provider's runs left alive, by label and never by memory."""
        ...

    def console(self, server: Server) -> str | None:
        """Whatever is left to read when SSH is not; None when there is nothing."""
        ...

    def connect(self, server: Server) -> Target:
        """Open a line to a server; raises `InfraError`. Called in the process that runs the tests."""
        ...


@runtime_checkable
class Reapable(Protocol):
    """What a provider does besides, if what it makes outlives the machine or the process that asked for it.

    All of it is told by labels (`pytest_testlab.labels`), from any machine, without the store and without memory.
    """

    def resources(self, kinds: Collection[str] | None = None) -> Iterable[Resource]:
        """Everything that carries the lab's label, of any run, and of these kinds or any; raises `InfraError`.

        Where only one kind can't be listed the others still are, and `InfraError` comes after the last of them.
        """
        ...

    def remove(self, resource: Resource) -> None:
        """Remove it for good; gone already = done. Raises `InfraError`."""
        ...

    def write_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
        """Set these of its labels, keep the others; raises `InfraError`, also when it is gone."""
        ...


@runtime_checkable
class Settles(Protocol):
    """What a reapable provider does besides, if its lists are dear: as those of a cloud that counts requests."""

    def settle(self, run: str) -> Collection[str]:
        """Remove what was made once for all servers of a run, which are gone; returns the kinds to look for at its end.

        Those are all of which this very object asked for something that it doesn't know to be gone: a request that was
        not answered counts, and servers always do. Only the end of a run narrows its look so, never a reaper's.
        Raises `InfraError`; then every kind is looked for.
        """
        ...


@runtime_checkable
class Snapshots(Protocol):
    """What a provider does besides, if it can start servers from the disk of another one."""

    def snapshot(self, server: Server, labels: Mapping[str, str]) -> str:
        """Freeze a server's disk as it is; returns what `ServerRequest.snapshot` takes. Raises `InfraError`.

        The server itself goes on, perhaps after a reboot. The snapshot is listed by `Reapable.resources`, of the kind
        `snapshot`, with that as its id. Whatever is made from it has a machine id and host keys of its own.
        """
        ...

    def bare(self, request: ServerRequest) -> Mapping[str, str]:
        """All that decides what a server of this request is before a platform is put on it: image, first-boot data."""
        ...


@runtime_checkable
class Foreseeable(Protocol):
    """What a platform does besides, if a disk that it was installed on may be kept, and others be started from it."""

    def inputs(self) -> Mapping[str, str]:
        """All that decides what `Platform.install` leaves on a bare server: its version and ref, what it is told.

        As long as none of it changes, yesterday's install is as good as today's. Raises `InfraError`.
        """
        ...


@runtime_checkable
class GivesUp(Protocol):
    """What a platform does besides, if it starts an app that ends again and again no more at some point."""

    def given_up(self, target: Target, deployment: Deployment) -> str | None:
        """How the app ended, if nothing of it runs and nobody will start it again; None while it may still come up.

        Asked about once a second while the app is waited for and doesn't answer. Raises `InfraError`.
        """
        ...


class Observer(Protocol):
    """Takes down what the lab sees while it works on one attempt: phases and transcripts, bounded."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Time a phase (`upload`, `build`, `deploy`, `ready`, `check`…); phases of one name add up."""
        ...

    def write(self, section: str, text: str | bytes) -> None:
        """Append to the lab's own record of a section (`build`, `deploy`, `http`)."""
        ...

    def conceal(self, *values: str) -> None:
        """Have these masked from now on, wherever the entry's tests show them: a password that was made up, a token."""
        ...


class HttpAnswer(Protocol):
    """What came back on an HTTP request."""

    @property
    def status(self) -> int:
        """Of the answer itself; redirects aren't followed."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        ...

    @property
    def body(self) -> bytes:
        """Bounded: at most its first MiB."""
        ...

    @property
    def seconds(self) -> float:
        """From the first byte sent to the last one read."""
        ...


class HttpClient(Protocol):
    """Asks one app through the front door, by the host name that holds its nonce."""

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float,
    ) -> HttpAnswer:
        """Ask once, redirects not followed; raises `NoAnswer` when nothing that is HTTP came back in time."""
        ...


class Platform(Protocol):
    """Puts apps on a target and brings its front door."""

    name: str

    def install(self, target: Target, observe: Observer) -> Mapping[str, str]:
        """Make a blank target ready to take apps; returns what was installed, for the provenance.

        Raises `InfraError` where the server or the way to it is at fault, `DeployFailed` where the platform itself is.
        Safe to repeat.
        """
        ...

    def place(self, target: Target, app: Application) -> Deployment:
        """Decide where an app goes and what it is told, without touching the target."""
        ...

    def deploy(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        """Upload, build and start an app, and open its front door; doesn't wait until it answers.

        Raises `BuildFailed`, `DeployFailed`, `DeadlinePassed` or `InfraError`.
        """
        ...

    def client(self, deployment: Deployment, *, host: str | None = None) -> HttpClient:
        """A client that comes through the front door; `host` replaces the app's own name (to ask as a stranger)."""
        ...

    def listens(self, target: Target, deployment: Deployment) -> str | None:
        """Whether what answers for the app descends from this deploy: None if so, else the reason why not."""
        ...

    def sections(self, target: Target, deployment: Deployment) -> list[Section]:
        """The platform's own sections of a bundle: its logs, its front door's."""
        ...

    def probe(self, target: Target, deployment: Deployment) -> Section:
        """The section `proxy-probe`: a script that prints probe lines (docs/reference/probe-lines.md)."""
        ...

    def destroy(self, target: Target, deployment: Deployment) -> None:
        """Remove an app and all that its deploy made; raises `InfraError` if something stays behind."""
        ...


@runtime_checkable
class Performs(Protocol):
    """What a platform does besides, if entries of its own formats have steps and checks that only it can carry out."""

    def perform(
        self,
        target: Target,
        deployment: Deployment,
        check: PlatformCheck,
        step: int,
        observe: Observer,
        within_s: float,
    ) -> None:
        """Carry it out; `step` is its number, for the failure. Raises `CheckFailed` or `InfraError`.

        Where the entry has no app, `deployment` is that of a folder on the target, which no `place` has made.
        """
        ...

    def clear(self, target: Target, deployment: Deployment) -> None:
        """Remove whatever steps of an entry without an app have left; raises `InfraError` if something stays behind."""
        ...


@dataclass(frozen=True, kw_only=True)
class PageRules:
    """How a Markdown file of another format's is to be read."""

    is_tutorial: bool = True
    """False for what is none, whatever it holds."""
    tags: tuple[str, ...] = ()
    """Beside those that it has itself."""


class CatalogFormat(Protocol):
    """Reads entries that others have written, in files that they have already."""

    name: str

    def passes_over(self, names: Collection[str]) -> bool:
        """Whether nothing in a folder that holds these names, nor below it, is to be collected."""
        ...

    def entry_file(self, folder: Path, names: Collection[str]) -> Path | None:
        """The file that makes a folder an entry; None where none of `names` does. A Markdown file is a tutorial."""
        ...

    def read(self, file: Path, data: bytes, place: str) -> Entry:
        """The entry that a file describes whose path in the catalog is `place`; raises `CatalogError`."""
        ...

    def page(self, file: Path) -> PageRules | None:
        """How a Markdown file is to be read; None = as every other."""
        ...


@dataclass(frozen=True, kw_only=True)
class RedactionShape:
    """A known shape of secrets. `pattern` runs only on lines that hold one of `words`, or that one of `hints` fits."""

    name: str
    words: tuple[bytes, ...] = ()
    """Literal lower-case words, one of which every match has on its line in any case. Those of four letters or more are
    the quickest."""
    hints: tuple[re.Pattern[bytes], ...] = ()
    """In place of words: what every match holds. Quick only if it begins with a literal, best with one rare letter. One
    with `re.IGNORECASE` is written in lower case."""
    reach: int | None = None
    """How many bytes before its word or hint a match begins at most; None = anywhere on the line."""
    pattern: re.Pattern[bytes]
    """Its group `secret` is what gets masked."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule of the classifier. Rules of an earlier class come first, then those registered first."""

    name: str
    failure_class: FailureClass
    decide: Callable[[Evidence], Verdict | None]
    """Returns the verdict if the rule fits; facts before text."""
