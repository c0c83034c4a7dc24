"""What only Hop3 can check: an app's check.py, commands and scripts beside the app, and the steps of demos."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_testlab.catalog.http_check import check_http
from pytest_testlab.catalog.polling import wait_ready
from pytest_testlab.catalog.script_check import run_bounded
from pytest_testlab.catalog.transcript import Asker, one_line
from pytest_testlab.errors import CheckFailed, InfraError, NotReady
from pytest_testlab.model import Deployment, HttpCheck, PlatformCheck, Ready
from pytest_testlab.protocols import Observer, Target

if TYPE_CHECKING:
    from testlab_hop3.platform import Hop3Platform

READY_S = 90.0


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One check, and what it needs."""

    platform: Hop3Platform
    target: Target
    deployment: Deployment
    check: PlatformCheck
    number: int
    observe: Observer
    until: float
    """By the monotonic clock."""

    @property
    def said(self) -> Mapping[str, Any]:
        return self.check.values

    @property
    def left(self) -> float:
        return max(0.1, self.until - time.monotonic())

    def failed(self, expected: str, got: str, deadline_s: float | None = None) -> CheckFailed:
        return CheckFailed(self.number, self.check.name, expected, got, deadline_s=deadline_s)


def perform(
    platform: Hop3Platform,
    target: Target,
    deployment: Deployment,
    check: PlatformCheck,
    number: int,
    observe: Observer,
    within_s: float,
) -> None:
    """Carry out a check; raises `CheckFailed` or `InfraError`."""
    step = _Step(
        platform=platform,
        target=target,
        deployment=deployment,
        check=check,
        number=number,
        observe=observe,
        until=time.monotonic() + within_s,
    )
    if check.action not in _ACTIONS:
        raise step.failed(f"one of {', '.join(_ACTIONS)}", f"{check.action!r}, which Hop3 doesn't know")
    _ACTIONS[check.action](step)


# --- of an app -------------------------------------------------------------------------------------------------------


def _check_py(step: _Step) -> None:
    """As Hop3's own lab and the end of each deploy do it: `hop3 app check`."""
    said = step.platform.say(step.target, "app", "check", "--app", step.deployment.data["name"], within_s=step.left)
    step.observe.write("check", said.output)
    if said.code is None:
        raise step.failed("check.py to pass", "no end in time", step.left)
    if said.code != 0 or "PASSED" not in said.text:
        raise step.failed("check.py to pass", said.last)


def _command(step: _Step) -> None:
    name = step.deployment.data.get("name", "")
    _on_target(step, step.said["run"].replace("{app_name}", name))


def _script(step: _Step) -> None:
    _on_target(step, f"bash {shlex.quote(step.said['path'])}")


def _on_target(step: _Step, command: str) -> None:
    folder, within_s = step.deployment.folder, step.left
    result = step.target.run(command, timeout_s=within_s, cwd=folder, env=step.deployment.env)
    step.observe.write("check", result.stdout + result.stderr)
    wanted = step.said.get("exit_code") or 0
    if result.timed_out:
        raise step.failed(f"exit code {wanted}", f"no end within {within_s:.0f} s", within_s)
    if result.exit_code != wanted:
        said = one_line(result.stderr.strip() or result.stdout.strip()) or "it printed nothing"
        raise step.failed(f"exit code {wanted}", f"exit code {result.exit_code}: {said}")
    exact, part = step.said.get("stdout"), step.said.get("contains")
    if exact is not None and result.text.strip() != exact:
        raise step.failed(f"the output {exact!r}", f"{one_line(result.stdout)!r}")
    if part is not None and part not in result.text:
        raise step.failed(f"output that contains {part!r}", f"{one_line(result.stdout)!r}")


# --- of a demo -------------------------------------------------------------------------------------------------------


def _server_name(step: _Step, app: str) -> str:
    """A demo's app, by a name that no other demo's has on the server."""
    return f"{app}-{step.deployment.app.nonce}"


def _host(step: _Step, app: str) -> str:
    return f"{_server_name(step, app)}.testlab.internal"


def _deploy(step: _Step) -> None:
    name, host = _server_name(step, step.said["app"]), _host(step, step.said["app"])
    folder = step.deployment.app.entry.folder / step.said["path"]
    apps = step.platform.demo_apps(step.target, step.deployment)
    if name not in apps:
        apps.append(name)
    words = ("deploy", "--app", name, str(folder), f"--env=HOST_NAME={host}")
    said = step.platform.say(step.target, *words, within_s=step.left)
    step.observe.write("check", said.output)
    if said.code != 0:
        raise step.failed("hop3 deploy to go through", f"exit code {said.code}: {said.last}")
    client = step.platform.at_front_door(step.target, host)
    try:
        wait_ready(client, Ready(within_s=READY_S), step.observe, deadline=step.until)
    except NotReady as error:
        raise step.failed("an answer below 500 through the front door", str(error), error.seconds) from error


def _wait(step: _Step) -> None:
    """The demo's author says how long; a test's time may end it before."""
    time.sleep(min(float(step.said["seconds"]), step.left))


def _destroy(step: _Step) -> None:
    name = _server_name(step, step.said["app"])
    step.platform.remove(step.target, name)
    apps = step.platform.demo_apps(step.target, step.deployment)
    if name in apps:
        apps.remove(name)


def _validate(step: _Step) -> None:
    apps = step.platform.demo_apps(step.target, step.deployment)
    if not apps:
        raise step.failed("an app to ask", "none: the demo has deployed none yet, or has destroyed it")
    host = f"{apps[-1]}.testlab.internal"
    there = urlsplit(step.said["url"])
    path = (there.path or "/") + (f"?{there.query}" if there.query else "")
    status, contains = step.said.get("status"), step.said.get("contains")
    check = HttpCheck(name=step.check.name, path=path, status=status, contains=contains, follow=True)
    asker = Asker(step.platform.at_front_door(step.target, host), step.observe)
    check_http(asker, step.number, check, min(30.0, step.left), host)


def _run_script(step: _Step) -> None:
    """The demo's own tool at the top of its tree, on the lab host, as Hop3's lab calls it."""
    folder = step.deployment.app.entry.folder
    top = next((up for up in folder.parents[:5] if (up / "demo.py").is_file() and (up / "lib").is_dir()), None)
    if top is None:
        raise step.failed("a folder above the demo with demo.py and lib, which runs it", "none")
    python, environ, host = step.platform.surroundings(step.target)
    command = [python, str(top / "demo.py"), "--host", host, "--skip-install", "--fail-fast", folder.name]
    try:
        code, output = run_bounded(command, str(top), environ, step.left)
    except OSError as error:
        raise InfraError(f"{top / 'demo.py'} can't be started: {error}") from error
    step.observe.write("check", output)
    if code != 0:
        ended = "no end in time" if code is None else f"exit code {code}"
        raise step.failed("exit code 0", f"{ended}: {one_line(output[-2000:])}", step.left if code is None else None)


_ACTIONS: Mapping[str, Callable[[_Step], None]] = {
    "check": _check_py,
    "command": _command,
    "script": _script,
    "demo-deploy": _deploy,
    "demo-wait": _wait,
    "demo-destroy": _destroy,
    "demo-validate": _validate,
    "demo-command": _command,
    "demo-script": _run_script,
}
