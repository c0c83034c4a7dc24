"""What a platform test has in its hands: a target, deployed apps, and a way through their front door.

All of it is taken down in the test's bundle, bounded, and nothing of it outlasts the test's own deadline.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_testlab.catalog.items import Equipment, UnitState
from pytest_testlab.catalog.lookup import find_entry
from pytest_testlab.catalog.several import labelled
from pytest_testlab.diagnosis.collect import collect
from pytest_testlab.errors import DeadlinePassed, NoAnswer, UsageError
from pytest_testlab.model import CommandResult, Deployment, Server

if TYPE_CHECKING:
    from pytest_testlab.protocols import HttpClient, Observer

HTTP_WITHIN_S = 10.0
RUN_WITHIN_S = 60.0
UPLOAD_WITHIN_S = 120.0
LOGS_WITHIN_S = 20.0
SHOWN_BYTES = 60


class Clock:
    """The test's own deadline, by the monotonic clock."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._start = time.monotonic()

    def at_most(self, seconds: float, what: str) -> float:
        """So many seconds, or what is left of the test's time; raises `DeadlinePassed` when that is nothing."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DeadlinePassed("test", round(self._deadline - self._start, 1), f"time left for {what}")
        return min(seconds, left)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer that came through the front door."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """At most its first MiB."""
    seconds: float

    @property
    def text(self) -> str:
        """The body as UTF-8; what isn't is replaced."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON; raises `ValueError`."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        kind = self.headers.get("content-type", "").partition(";")[0]
        rest = "…" if len(self.body) > SHOWN_BYTES else ""
        return f"<{self.status} {kind}: {self.body[:SHOWN_BYTES]!r}{rest}>"


class Http:
    """Asks one app through the front door, by its own host name. Redirects aren't followed."""

    def __init__(self, client: HttpClient, observe: Observer, clock: Clock, *, who: str = "") -> None:
        """`who` is the app's name in the transcript, where there are several."""
        self._client = client
        self._observe = observe
        self._clock = clock
        self._who = who
        self._asked = 0

    def __repr__(self) -> str:
        return f"<http {self._who}".rstrip() + ">"

    def get(self, path: str = "/", *, headers: Mapping[str, str] | None = None, within: float = HTTP_WITHIN_S) -> Reply:
        """GET; see `request`."""
        return self.request("GET", path, headers=headers, within=within)

    def post(
        self,
        path: str = "/",
        body: bytes | str | None = None,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        within: float = HTTP_WITHIN_S,
    ) -> Reply:
        """POST; see `request`."""
        return self.request("POST", path, body, json=json, headers=headers, within=within)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        within: float = HTTP_WITHIN_S,
    ) -> Reply:
        """Ask once, for at most `within` seconds; `json` is sent in place of `body`, as JSON.

        Raises `NoAnswer` when nothing that is HTTP came back in time.
        """
        from pytest_testlab.catalog.transcript import Asker

        self._asked += 1
        given = dict(headers or {})
        if json is not None:
            body, given = _as_json(json), {"Content-Type": "application/json"} | given
        data = body.encode() if isinstance(body, str) else body
        within_s = self._clock.at_most(within, f"{method} {path}")
        try:
            asker = Asker(self._client, self._observe, who=self._who and f"{self._who}: ")
            answer = asker.ask(method, path, within_s, headers=given, body=data)
        except NoAnswer as no:
            no.asked = self._asked, f"{method} {path}", within_s
            raise
        return Reply(status=answer.status, headers=answer.headers, body=answer.body, seconds=answer.seconds)


def _as_json(value: Any) -> str:
    return json.dumps(value)


class BenchTarget:
    """The target of this test. What it leaves there is there for the tests that follow, unless the test is `alone`."""

    def __init__(self, equipment: Equipment, observe: Observer, clock: Clock, folder: Path) -> None:
        self._target = equipment.target
        self._observe = observe
        self._clock = clock
        self._folder = folder

    def __repr__(self) -> str:
        return f"<target {self.server.name}>"

    @property
    def server(self) -> Server:
        """The server: its name, epoch, image, and how it was proven blank."""
        return self._target.server

    def run(
        self,
        script: str,
        *,
        timeout_s: float = RUN_WITHIN_S,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> CommandResult:
        """Run a POSIX sh script there; its exit code is for the test to judge, and None when its time was up.

        Raises `InfraError` when the line is lost.
        """
        within_s = self._clock.at_most(timeout_s, "a command on the target")
        self._observe.write("target", f"$ {script}\n")
        with self._observe.phase("target"):
            result = self._target.run(script, timeout_s=within_s, cwd=cwd, env=env)
        for name, output in (("", result.stdout), ("stderr: ", result.stderr)):
            for line in output.splitlines():
                self._observe.write("target", f"  {name}".encode() + line + b"\n")
        ended = f"no end within {within_s:g} s" if result.timed_out else f"exit code {result.exit_code}"
        self._observe.write("target", f"{ended} after {result.seconds:.1f} s\n")
        return result

    def upload(self, folder: str | Path, destination: str, *, timeout_s: float = UPLOAD_WITHIN_S) -> None:
        """Copy a folder's content into a folder there. `folder` is relative to the test's own.

        Raises `UsageError` for what can't be uploaded, `InfraError` for a lost line or a full disk.
        """
        within_s = self._clock.at_most(timeout_s, "an upload")
        with self._observe.phase("upload"):
            self._target.upload(self._folder / folder, destination, timeout_s=within_s)
        self._observe.write("target", f"uploaded {folder} to {destination}\n")


class App:
    """An entry that was deployed for this test, under a host name of its own; removed when the test is over."""

    def __init__(self, bench: Bench, state: UnitState) -> None:
        assert state.deployment is not None
        self._bench = bench
        self._state = state
        self.deployment: Deployment = state.deployment
        """All that the platform knows of it, its environment with secrets in clear."""
        self.http = bench.through_front_door(self.deployment)
        """A client through its front door."""

    @property
    def name(self) -> str:
        """The entry's name."""
        return self.deployment.app.name

    @property
    def nonce(self) -> str:
        """What makes this deploy's host name unlike any other's."""
        return self.deployment.app.nonce

    @property
    def host(self) -> str:
        """Its host name, which only the lab knows."""
        return self.deployment.app.host

    @property
    def url(self) -> str:
        """Its address, as a user would type it."""
        return self.deployment.url

    @property
    def env(self) -> tuple[str, ...]:
        """The names in its environment, sorted; the values are in `deployment.env`."""
        return tuple(sorted(self.deployment.env))

    def run(self, command: str, *, timeout_s: float = RUN_WITHIN_S) -> CommandResult:
        """Run a command on the target, in the app's folder and with its environment; see `BenchTarget.run`."""
        return self._bench.target.run(command, timeout_s=timeout_s, cwd=self.deployment.folder, env=self.deployment.env)

    def logs(self) -> dict[str, str]:
        """Section → text, of what the platform keeps of this app by now (`app`, `build`, `nginx-access`, …)."""
        return self._bench.logs(self.deployment)

    def remove(self) -> None:
        """Remove it before the test is over; raises `InfraError` when something of it stays."""
        self._bench.remove(self._state)

    def __repr__(self) -> str:
        return f"<app {self.host}>"


class Bench:
    """Deploys for one test, and counts what it deployed."""

    def __init__(
        self,
        equipment: Equipment,
        state: UnitState,
        observe: Observer,
        *,
        deadline: float,
        config: pytest.Config,
        test: Path,
    ) -> None:
        """`deadline` is the test's, by the monotonic clock; `test` is the file that it is in."""
        self._equipment = equipment
        self._state = state
        self._observe = observe
        self._deadline = deadline
        self._clock = Clock(deadline)
        self._config = config
        self._folder = test.parent
        self.target = BenchTarget(equipment, observe, self._clock, self._folder)

    def deploy(self, named: str) -> App:
        """Deploy an entry, by its name or a path from the test's folder, and wait until it answers.

        Raises `StageFailure`, `InfraError`, `RequirementMissing`, or `UsageError` for an entry that isn't there.
        """
        from pytest_testlab.catalog.stages import install

        if not isinstance(named, str):
            raise UsageError(f"an entry is named by its name or a path to its folder, not by {named!r}")
        entry = find_entry(self._config, named, self._folder)
        if not entry.deploys:
            raise UsageError(f"{entry.name} is nothing but steps: there is no app in it to deploy")
        beside = UnitState()
        self._state.beside.append(beside)
        try:
            install(entry, self._equipment, beside, self._observe, self._deadline)
        finally:
            if beside.deployment is not None:
                self._observe.conceal(*beside.deployment.secret_values, *beside.deployment.app.secret_values)
        return App(self, beside)

    def remove(self, beside: UnitState) -> None:
        """Remove an app now; raises `InfraError` when something of it stays."""
        self._equipment.clean_up(beside)

    def through_front_door(self, deployment: Deployment) -> Http:
        """A client for an app."""
        label = next(label for label, known in labelled(self._state.deployments) if known is deployment)
        client = self._equipment.platform.client(deployment)
        return Http(client, self._observe, self._clock, who=label.removeprefix("-"))

    def logs(self, deployment: Deployment) -> dict[str, str]:
        """What the platform keeps of an app; what is absent is left out."""
        sections = self._equipment.platform.sections(self._equipment.target, deployment)
        raw = collect(self._equipment.target, sections, deadline_s=self._clock.at_most(LOGS_WITHIN_S, "logs"))
        return {section.name: section.text.decode(errors="replace") for section in raw if section.absent is None}
