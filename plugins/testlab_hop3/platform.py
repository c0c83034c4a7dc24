"""The platform `hop3`: installs it, deploys as a user does, and believes the front door alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_testlab.errors import BuildFailed, DeadlinePassed, DeployFailed, InfraError
from pytest_testlab.model import Application, Deployment, FrontDoor, PlatformCheck, Section, Server
from pytest_testlab.options import Settings
from pytest_testlab.protocols import HttpClient, Observer, Target
from pytest_testlab.store.home import home_path
from pytest_testlab.target.http import FrontDoorClient
from testlab_hop3 import installing, sections, steps
from testlab_hop3.client import Client, Said, ensure
from testlab_hop3.source import Source

ROOT = "/home/hop3"
TLS_PORT = 443
STEP_S = 60.0
LOOK_S = 20.0
BUILD_MARKS = ("build failed", "command failed with exit code")
"""What Hop3 says, in any case, when a command of a build ended badly; its exit code tells only that it failed."""
NETWORK_ERROR = 7
"""The client's exit code where it doesn't reach its server."""


@dataclass
class _Host:
    """What is known of one server under one epoch."""

    client: Client
    demos: dict[str, list[str]] = field(default_factory=dict)
    """Mark of a demo's folder → the apps that its steps deployed and have not destroyed."""


class Hop3Platform:
    """Implements `protocols.Platform`, and `protocols.Performs` for what only Hop3 can check."""

    name = "hop3"

    def __init__(self, settings: Settings) -> None:
        """Raises `UsageError` for a source that can't be one."""
        self._source = Source.of()
        self._home: Path = home_path(settings)
        self._hosts: dict[tuple[str, int], _Host] = {}

    # --- the target ---------------------------------------------------------------------------------------------------

    def inputs(self) -> Mapping[str, str]:
        """The release, ref or tree, and the script of one's own that installs it."""
        return self._source.inputs()

    def install(self, target: Target, observe: Observer) -> Mapping[str, str]:
        """Install Hop3, unless just this is there, and log in; raises `InfraError`, `DeployFailed`."""
        versions = installing.install(target, self._source, observe)
        self._hop3(target.server).client.login()
        return versions

    def _hop3(self, server: Server) -> _Host:
        key = server.name, server.epoch
        if key not in self._hosts:
            for old in [old for old in self._hosts if old[0] == server.name]:
                self._hosts.pop(old).client.close()
            self._hosts[key] = _Host(Client(ensure(self._home, self._source.client), server))
        return self._hosts[key]

    # --- an app -------------------------------------------------------------------------------------------------------

    def place(self, target: Target, app: Application) -> Deployment:
        """Its name on the server holds the nonce, as its host does: no other deploy can have left anything there."""
        server = target.server
        host = "127.0.0.1" if server.ssh is None else server.ssh.host
        name = f"{app.name}-{app.nonce}"
        return Deployment(
            app=app,
            front_door=FrontDoor(host=host, port=TLS_PORT, scheme="https"),
            folder=f"{ROOT}/apps/{name}/src",
            port=None,
            env=dict(app.env),
            secret_values=app.secret_values,
            data={"name": name},
        )

    def deploy(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        """`hop3 deploy`; what it says of its success is taken down and not relied on."""
        entry = deployment.app.entry
        words = [
            "deploy",
            "--app",
            deployment.data["name"],
            str(entry.folder),
            f"--env=HOST_NAME={deployment.app.host}",
        ]
        words += [f"--env={key}={value}" for key, value in deployment.env.items()]
        with observe.phase("deploy"):
            said = self._hop3(target.server).client(*words, within_s=entry.timeout_s)
        observe.write("deploy", said.output)
        if said.code is None:
            raise DeadlinePassed("build", entry.timeout_s, "end of hop3 deploy")
        observe.write("deploy", f"hop3 deploy: exit code {said.code}\n")
        if said.code != 0:
            raise failure_of(said)

    def client(self, deployment: Deployment, *, host: str | None = None) -> HttpClient:
        """Through nginx, over TLS, by the app's own host name or, as a stranger, by `host`."""
        return FrontDoorClient(deployment.front_door, host or deployment.app.host)

    def listens(self, target: Target, deployment: Deployment) -> str | None:
        """Whether the front door's vhost for the host is this deploy's, and whoever listens behind it runs in it."""
        result = target.run(sections.listens(deployment), timeout_s=LOOK_S)
        if result.exit_code == 0:
            return None
        return " ".join((result.text + result.stderr.decode(errors="replace")).split())[-300:] or "nobody can tell"

    def sections(self, target: Target, deployment: Deployment) -> list[Section]:
        """Hop3's logs of the app and its own, the workers, the vhost."""
        return sections.of_app(deployment)

    def probe(self, target: Target, deployment: Deployment) -> Section:
        """The section `proxy-probe`."""
        return sections.probe(deployment)

    def destroy(self, target: Target, deployment: Deployment) -> None:
        """`hop3 app destroy`; raises `InfraError` where anything of the app stays, whatever that says."""
        self._destroy(target, deployment.data["name"])

    def _destroy(self, target: Target, name: str) -> None:
        said = self._hop3(target.server).client("app", "destroy", "--app", name, "-y", within_s=STEP_S)
        folder, vhost = f"{ROOT}/apps/{name}", f"{ROOT}/nginx/{name}.conf"
        left = target.run(f"ls -d {shlex.quote(folder)} {shlex.quote(vhost)} 2>/dev/null", timeout_s=LOOK_S)
        if left.stdout.strip():
            found = " ".join(left.text.split())
            raise InfraError(f"{target.server.name}: {name} isn't gone; left: {found}; hop3 said: {said.last}")

    # --- what only Hop3 can check -------------------------------------------------------------------------------------

    def perform(
        self,
        target: Target,
        deployment: Deployment,
        check: PlatformCheck,
        step: int,
        observe: Observer,
        within_s: float,
    ) -> None:
        """A validation of an app, or a step of a demo; raises `CheckFailed` or `InfraError`."""
        steps.perform(self, target, deployment, check, step, observe, within_s)

    def clear(self, target: Target, deployment: Deployment) -> None:
        """Destroy the apps that a demo's steps have left; raises `InfraError` where one stays."""
        for name in self.demo_apps(target, deployment)[::-1]:
            self._destroy(target, name)
            self.demo_apps(target, deployment).remove(name)

    def demo_apps(self, target: Target, deployment: Deployment) -> list[str]:
        """The names of the apps that a demo has on the server now, in the order in which it deployed them."""
        return self._hop3(target.server).demos.setdefault(deployment.app.nonce, [])

    def say(self, target: Target, *words: str, within_s: float) -> Said:
        """A command of the client, for a step."""
        return self._hop3(target.server).client(*words, within_s=within_s)

    def surroundings(self, target: Target) -> tuple[str, Mapping[str, str], str]:
        """(the client's Python, an environment in which the client is found and logged in, the server's address)."""
        client = self._hop3(target.server).client
        client.login()
        return client.python, client.environ(), client.host

    def remove(self, target: Target, name: str) -> None:
        """Destroy an app of a demo."""
        self._destroy(target, name)

    def at_front_door(self, target: Target, host: str) -> HttpClient:
        """As `client`, for an app of a demo."""
        server = target.server
        door = FrontDoor(host="127.0.0.1" if server.ssh is None else server.ssh.host, port=TLS_PORT, scheme="https")
        return FrontDoorClient(door, host)


def failure_of(said: Said) -> Exception:
    """What a deploy that failed is: the build's own fault where Hop3 says so, a broken line, else the deploy's."""
    if said.code == NETWORK_ERROR:
        return InfraError(f"hop3 deploy doesn't reach its server: {said.last}")
    if any(mark in said.text.lower() for mark in BUILD_MARKS):
        return BuildFailed(f"hop3 deploy: {said.last}", said.code or 1)
    return DeployFailed("hop3 deploy", f"exit code {said.code}: {said.last}")
