"""The platform `procfile`, step by step."""

from __future__ import annotations

import hashlib
import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import replace

from pytest_testlab.errors import BuildFailed, DeadlinePassed, DeployFailed, InfraError, RequirementMissing, UsageError
from pytest_testlab.model import Application, Deployment, FrontDoor, Section, Server
from pytest_testlab.platform import nginx, postgresql, sections
from pytest_testlab.platform.layout import STEP_S, Found, Layout, ask_root
from pytest_testlab.platform.scripting import FAILED, compose, execute, facts, packaged, reason
from pytest_testlab.protocols import HttpClient, Observer, Target
from pytest_testlab.target.http import FrontDoorClient

VERSION = "procfile 1"
INSTALLED = ("lib", "http", "front", "install", "log", "supervise")
"""The scripts that its install runs, or leaves behind."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ProcfilePlatform:
    """Implements `protocols.Platform` with nginx, a small supervisor, and PostgreSQL where an app asks for it."""

    name = "procfile"

    def __init__(self) -> None:
        self._roots: dict[tuple[str, int], str] = {}
        self._placed: dict[tuple[str, int], dict[str, int | None]] = {}
        """Server and epoch → nonce → PORT, of what this process deploys."""
        self._found: dict[tuple[str, int], list[Found]] = {}
        """Server and epoch → what was there when the platform was installed, as on a kept server."""

    # --- the target ---

    def inputs(self) -> Mapping[str, str]:
        """Its version, and the scripts that it installs by and leaves on the target."""
        scripts = "".join(packaged(f"scripts/{name}.sh") for name in INSTALLED)
        return {"platform": VERSION, "scripts": hashlib.sha256(scripts.encode()).hexdigest()[:16]}

    def install(self, target: Target, observe: Observer) -> Mapping[str, str]:
        """Make the working folders and start the front door, which answers 421 to any host yet.

        Raises `InfraError` that names what to install, `DeployFailed` for a front door that doesn't come up.
        """
        layout = self._layout(target)
        variables = _of_target(layout) | {
            "supervise": packaged("scripts/log.sh") + packaged("scripts/supervise.sh"),
            "nginx_conf": nginx.main_config(layout),
        }
        script = compose(variables, "lib", "http", "front", "install")
        result = execute(target, script, timeout_s=STEP_S, doing="installing the platform")
        if result.exit_code != 0:
            said = reason(result)
            word, _, rest = said.partition(": ")
            raise DeployFailed(word, rest) if word == "front door" else InfraError(f"{target.server.name}: {said}")
        own = self._placed.get(_key(target.server), {})
        self._found[_key(target.server)] = [app for app in Found.listed(result) if app.nonce not in own]
        observe.write("deploy", f"platform installed below {layout.root}\n")
        return {"platform": VERSION, "nginx": facts(result).get("nginx", "unknown")}

    def _layout(self, target: Target) -> Layout:
        server = target.server
        root = server.facts.get("root") or self._roots.get(_key(server))
        if root is None:
            root = self._roots[_key(server)] = ask_root(target)
        return Layout(server=server, root=root)

    # --- an app ---

    def place(self, target: Target, app: Application) -> Deployment:
        """Decide folder, PORT and environment; raises `InfraError` when no port is left.

        The entry's own variables win over those of the addons, and PORT wins over all.
        """
        layout, entry = self._layout(target), app.entry
        data = layout.places(app.name, app.nonce)
        home = data["home"]
        env = {"HOME": f"{home}/home", "APP_URL": f"http://{app.host}"}
        secret_values, addons = app.secret_values, {}
        replaced = [found for found in self._found.get(_key(target.server), ()) if found.name == app.name]
        if postgresql.NAME in entry.addons:
            account = postgresql.new_account(app, layout.addon_port)
            env["DATABASE_URL"] = account.url
            data |= {"database": account.database, "password": account.password}
            secret_values |= {account.password}
        env |= app.env
        port = self._port(layout, app)
        env |= {"TESTLAB_DEPLOY": app.nonce} | ({} if port is None else {"PORT": str(port)})
        if postgresql.NAME in entry.addons:
            addons[postgresql.NAME] = env["DATABASE_URL"]
        return Deployment(
            app=app,
            front_door=_front_door(target.server, layout.front_port),
            folder=f"{home}/app",
            port=port,
            env=env,
            secret_values=secret_values,
            addons=addons,
            data=data,
            replaces=" ".join(f"{found.name}-{found.nonce}" for found in replaced),
        )

    def _port(self, layout: Layout, app: Application) -> int | None:
        placed = self._placed.setdefault(_key(layout.server), {})
        if app.nonce not in placed:
            others = [found.port for found in self._found.get(_key(layout.server), ()) if found.name != app.name]
            taken = [port for port in (*placed.values(), *others) if port is not None]
            placed[app.nonce] = layout.app_port(taken) if app.entry.command is not None else None
        return placed[app.nonce]

    def deploy(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        """Make the addons, upload, build, start, open the front door; doesn't wait until the app answers.

        Raises `BuildFailed`, `DeployFailed`, `DeadlinePassed` (the build took what the entry's timeout left),
        `RequirementMissing` (an addon that the target can't give) or `InfraError`.
        """
        deadline = time.monotonic() + deployment.app.entry.timeout_s
        with observe.phase("deploy"):
            self._begin(target, deployment, observe)
        with observe.phase("upload"):
            self._upload(target, deployment)
            observe.write("deploy", f"uploaded {deployment.app.entry.folder.name}\n")
        with observe.phase("build"):
            for command in deployment.app.entry.build:
                self._build(target, deployment, command, observe, deadline)
        with observe.phase("deploy"):
            self._start(target, deployment, observe)

    def _begin(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        if (recipe := deployment.app.entry.recipe) is not None:
            raise RequirementMissing(f"its recipe is for the platform {recipe}; add --testlab-platform {recipe}")
        if unknown := sorted(set(deployment.app.entry.addons) - {postgresql.NAME}):
            raise RequirementMissing(f"the platform procfile has no addon {unknown[0]!r}; it has: {postgresql.NAME}")
        self._replace(target, deployment)
        variables = self._of_deploy(target, deployment) | {"replaced": deployment.replaces}
        values = variables | {"env": _exports(deployment.env), "command": deployment.app.entry.command or ""}
        _step(target, compose(values, "lib", "begin"), "folder")
        if "database" in deployment.data:
            account = postgresql.Account(
                database=deployment.data["database"],
                password=deployment.data["password"],
                port=self._layout(target).addon_port,
            )
            postgresql.create(target, variables, account, observe)
            observe.write("deploy", f"addon postgresql: database {account.database}\n")

    def _replace(self, target: Target, deployment: Deployment) -> None:
        """Remove the app of this name that was there before, as whoever deploys an app once more expects it."""
        app, key = deployment.app, _key(target.server)
        for found in [found for found in self._found.get(key, ()) if found.name == app.name]:
            data = self._layout(target).places(found.name, found.nonce)
            data |= {"database": postgresql.database_of(found.name, found.nonce)}
            earlier = replace(app, nonce=found.nonce)
            self.destroy(target, replace(deployment, app=earlier, port=found.port, data=data))
            self._found[key].remove(found)

    def _upload(self, target: Target, deployment: Deployment) -> None:
        try:
            target.upload(deployment.app.entry.folder, deployment.folder)
        except UsageError as error:
            # what can't be sent is the entry's fault, and a failure of this test, not of the run
            raise DeployFailed("upload", str(error)) from error

    def _build(self, target: Target, deployment: Deployment, command: str, observe: Observer, deadline: float) -> None:
        timeout_s = deployment.app.entry.timeout_s
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlinePassed("build", timeout_s, f"end of the build: {command}")
        observe.write("build", f"$ {command}\n")
        script = compose(self._of_deploy(target, deployment) | {"command": command}, "lib", "log", "build")
        result = target.run(script, timeout_s=left)
        if result.timed_out:
            observe.write("build", f"no end within the test's {timeout_s:g} s\n")
            raise DeadlinePassed("build", timeout_s, f"end of the build command: {command}")
        code = facts(result).get("exit", "")
        if result.exit_code != 0 or not code.isdecimal():
            raise DeployFailed("build", reason(result))
        observe.write("build", f"exit code {code} after {result.seconds:.1f} s\n")
        if code != "0":
            raise BuildFailed(command, int(code))

    def _start(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        layout = self._layout(target)
        values = self._of_deploy(target, deployment) | {
            "vhost": nginx.vhost(layout, deployment),
            "static": str(deployment.app.entry.static or ""),
        }
        _step(target, compose(values, "lib", "http", "front", "start"), "start")
        observe.write("deploy", f"front door open for {deployment.app.host}\n")

    # --- what becomes of it ---

    def client(self, deployment: Deployment, *, host: str | None = None) -> HttpClient:
        """A client through the front door, by the app's own host name or, as a stranger, by `host`."""
        return FrontDoorClient(deployment.front_door, host or deployment.app.host)

    def listens(self, target: Target, deployment: Deployment) -> str | None:
        """None if the process that listens on PORT descends from this deploy, else the reason why not."""
        values = self._of_deploy(target, deployment)
        if deployment.port is None:
            found = target.run(f"[ -f {shlex.quote(deployment.data['vhost'])} ]", timeout_s=STEP_S)
            return None if found.exit_code == 0 else "the front door has no vhost for this deploy"
        result = execute(target, compose(values, "lib", "listens"), timeout_s=STEP_S, doing="looking for listeners")
        word, _, pid = result.stdout.decode(errors="replace").strip().partition(" ")
        if word == "ours":
            return None
        if word == "other":
            whose = f"process {pid}" if pid != "0" else "a process of another account"
            return f"{whose} listens on port {deployment.port}, and doesn't descend from this deploy"
        return f"nobody listens on port {deployment.port}"

    def given_up(self, target: Target, deployment: Deployment) -> str | None:
        """Its exit code and how often it was started, once the supervisor gave up and nothing of the deploy is left."""
        if deployment.port is None:
            return None
        script = compose(self._of_deploy(target, deployment), "lib", "given_up")
        result = execute(target, script, timeout_s=STEP_S, doing="asking whether the app still runs")
        return result.stdout.decode(errors="replace").strip() or None

    def sections(self, target: Target, deployment: Deployment) -> list[Section]:
        """`build`, `deploy`, `app`, `nginx-error`, `nginx-access`."""
        return sections.logs(deployment)

    def probe(self, target: Target, deployment: Deployment) -> Section:
        """The section `proxy-probe`."""
        return sections.probe(deployment, self._of_deploy(target, deployment))

    def destroy(self, target: Target, deployment: Deployment) -> None:
        """Stop the app and all that came of it, drop its database, and remove its vhost, folder and logs.

        Raises `InfraError` that names whatever stays.
        """
        values = self._of_deploy(target, deployment) | {
            "database": deployment.data.get("database", ""),
            "addon_port": str(self._layout(target).addon_port),
        }
        script = compose(values, "lib", "http", "front", "postgresql", "destroy")
        result = execute(target, script, timeout_s=STEP_S + 15, doing=f"removing {deployment.app.name}")
        left = [line[5:] for line in result.stdout.decode(errors="replace").splitlines() if line.startswith("left ")]
        if result.exit_code != 0:
            left.append(reason(result))
        if left:
            raise InfraError(f"{target.server.name}: {deployment.app.name} isn't gone; left: {'; '.join(left[:5])}")
        self._placed.get(_key(target.server), {}).pop(deployment.app.nonce, None)

    def _of_deploy(self, target: Target, deployment: Deployment) -> dict[str, str]:
        return _of_target(self._layout(target)) | {
            "home": deployment.data["home"],
            "logs": deployment.data["logs"],
            "state": deployment.data["home"] + "/state",
            "vhost_file": deployment.data["vhost"],
            "nonce": deployment.app.nonce,
            "host": deployment.app.host,
            "port": "" if deployment.port is None else str(deployment.port),
        }


def _of_target(layout: Layout) -> dict[str, str]:
    return {
        "root": layout.root,
        "front": layout.front,
        "front_address": layout.front_address,
        "get_py": packaged("scripts/get.py"),
    }


def _step(target: Target, script: str, step: str) -> None:
    """Run a script of a deploy; raises `DeployFailed` with its own word for the step, where it gives one."""
    result = execute(target, script, timeout_s=STEP_S, doing=f"the step {step!r} of a deploy")
    if result.exit_code == FAILED:
        said = reason(result)
        word, colon, rest = said.partition(": ")
        raise DeployFailed(word, rest) if colon and word in ("start", "front door") else DeployFailed(step, said)


def _exports(env: Mapping[str, str]) -> str:
    for name in env:
        if not _NAME.fullmatch(name):
            raise DeployFailed("environment", f"{name!r} can't be the name of a variable")
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in env.items())


def _front_door(server: Server, port: int) -> FrontDoor:
    if server.ssh is None:
        return FrontDoor(host="127.0.0.1", port=port)
    return FrontDoor(host=server.ssh.host, port=port, via=server.ssh.jump)


def _key(server: Server) -> tuple[str, int]:
    return server.name, server.epoch
