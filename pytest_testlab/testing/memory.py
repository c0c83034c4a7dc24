"""The provider and the platform `memory`: no I/O at all, for authors of plugins and for measuring the engine itself.

An entry's commands are not run by a shell there. A script is read as words: `sleep SECONDS`, `echo TEXT`, `true`,
`false` and `exit CODE`, separated by `;` or line ends. `[build] commands` and command checks work with these; the front
door answers every request for an app that runs with 200 and `memory`, after the `sleep` that its `[run] command` names.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_testlab.errors import BuildFailed, DeadlinePassed, DeployFailed, InfraError, NotBlankError
from pytest_testlab.hookspecs import hookimpl
from pytest_testlab.model import (
    Application,
    CommandResult,
    Deployment,
    FrontDoor,
    Section,
    Server,
    ServerRequest,
)
from pytest_testlab.options import Settings
from pytest_testlab.protocols import Observer, Platform, Provider, Target

NO_SHELL = "a memory target has no shell"
RUNNING = """process state=running pid=1 starts=1
inside address=memory:80 declared=yes status=200 seconds=0
front-door address=memory:80 status=200 seconds=0
"""
"""What the probe says of an app that was deployed."""


class MemoryTarget:
    """A target that understands a few words and keeps nothing."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def run(
        self, script: str, *, timeout_s: float, cwd: str | None = None, env: Mapping[str, str] | None = None
    ) -> CommandResult:
        """Do what the words say; raises `InfraError` for any other script."""
        start = time.monotonic()
        output: list[str] = []
        code = 0
        for line in script.replace(";", "\n").splitlines():
            match shlex.split(line):
                case [] | ["true"]:
                    code = 0
                case ["false"]:
                    code = 1
                case ["exit", number]:
                    code = int(number)
                    break
                case ["echo", *words]:
                    output.append(" ".join(words) + "\n")
                case ["sleep", seconds]:
                    time.sleep(min(float(seconds), timeout_s))
                    if float(seconds) > timeout_s:
                        return _result(None, output, start)
                case _:
                    raise InfraError(NO_SHELL)
        return _result(code, output, start)

    def upload(self, folder: Path, destination: str, *, timeout_s: float = 120.0) -> None:
        """Do nothing: there is nowhere to copy to."""

    def close(self) -> None:
        """Do nothing: there is no line."""


def _result(code: int | None, output: list[str], start: float) -> CommandResult:
    text = "".join(output).encode()
    return CommandResult(exit_code=code, stdout=text, stderr=b"", seconds=time.monotonic() - start)


class MemoryProvider:
    """Makes servers that are nothing but a name."""

    name = "memory"
    default_platform = "memory"
    blank_between_units = False
    eur_per_hour: float | None = None
    """What its servers are said to cost; set by a subclass."""

    def __init__(self) -> None:
        self._alive: dict[str, Server] = {}

    def create(self, request: ServerRequest) -> Server:
        """A name."""
        name = f"memory-{request.run}-{request.slot}"
        server = Server(
            name=name,
            provider=self.name,
            isolation="nothing is run",
            image=request.image,
            eur_per_hour=self.eur_per_hour,
        )
        return self._alive.setdefault(name, server)

    def blank(self, server: Server) -> Server:
        """The same name under a new epoch; raises `NotBlankError` for one that is forgotten."""
        if server.name not in self._alive:
            raise NotBlankError(f"{server.name} is gone")
        server = replace(server, epoch=server.epoch + 1, proof={"blank": "nothing is kept"})
        self._alive[server.name] = server
        return server

    def destroy(self, server: Server) -> None:
        """Forget the name."""
        self._alive.pop(server.name, None)

    def owned(self) -> Iterable[Server]:
        """Every name not yet forgotten."""
        return tuple(self._alive.values())

    def console(self, server: Server) -> str | None:
        """Nothing: there is no console."""
        return None

    def connect(self, server: Server) -> Target:
        """A target of that name."""
        return MemoryTarget(server)


@dataclass(frozen=True, kw_only=True)
class MemoryAnswer:
    """What the front door of the platform `memory` answers."""

    status: int
    body: bytes
    seconds: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)


class MemoryClient:
    """Answers 200 for the deployed app's own host, 421 for any other."""

    def __init__(self, known: bool) -> None:
        self._known = known

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float,
    ) -> MemoryAnswer:
        """Answer at once."""
        status, text = (200, b"memory") if self._known else (421, b"no such app")
        return MemoryAnswer(status=status, body=text)


class MemoryPlatform:
    """Deploys by remembering."""

    name = "memory"

    def __init__(self) -> None:
        self._running: set[str] = set()

    def inputs(self) -> Mapping[str, str]:
        """Its version."""
        return {"memory": "1"}

    def install(self, target: Target, observe: Observer) -> Mapping[str, str]:
        """Nothing to install."""
        return {"memory": "1"}

    def place(self, target: Target, app: Application) -> Deployment:
        """Nowhere in particular."""
        door = FrontDoor(host="memory", port=80)
        return Deployment(app=app, front_door=door, folder=f"/memory/{app.name}", port=None, env=app.env)

    def deploy(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        """Do the words of the build commands and of the run command."""
        entry = deployment.app.entry
        with observe.phase("build"):
            for command in entry.build:
                code = target.run(command, timeout_s=entry.timeout_s).exit_code
                if code is None:
                    raise DeadlinePassed("build", entry.timeout_s, f"end of the build command: {command}")
                if code:
                    raise BuildFailed(command, code)
        with observe.phase("deploy"):
            if entry.command and target.run(entry.command, timeout_s=entry.timeout_s).exit_code:
                raise DeployFailed("run", f"{entry.command} failed")
        self._running.add(deployment.app.host)

    def client(self, deployment: Deployment, *, host: str | None = None) -> MemoryClient:
        """A client that needs no network."""
        return MemoryClient((host or deployment.app.host) in self._running)

    def listens(self, target: Target, deployment: Deployment) -> str | None:
        """Whether it was deployed."""
        return None if deployment.app.host in self._running else "it was not deployed"

    def sections(self, target: Target, deployment: Deployment) -> list[Section]:
        """What there is to say of an app that isn't there."""
        note = f"{deployment.app.host} is remembered, not run\n".encode()
        return [Section(name="app", source="memory", content=note)]

    def probe(self, target: Target, deployment: Deployment) -> Section:
        """Whether the app is remembered, in probe lines."""
        up = deployment.app.host in self._running
        lines = RUNNING if up else "process state=absent\n"
        return Section(name="proxy-probe", source="memory", content=lines.encode())

    def destroy(self, target: Target, deployment: Deployment) -> None:
        """Forget it."""
        self._running.discard(deployment.app.host)


@hookimpl
def testlab_providers() -> Mapping[str, Callable[[Settings], Provider]]:
    """Offer the provider `memory`."""
    return {"memory": lambda _settings: MemoryProvider()}


@hookimpl
def testlab_platforms() -> Mapping[str, Callable[[Settings], Platform]]:
    """Offer the platform `memory`."""
    return {"memory": lambda _settings: MemoryPlatform()}
