"""The platform's parts of a bundle: its logs, the front door's, and the probe."""

from __future__ import annotations

import secrets

from pytest_testlab.model import Deployment, Section
from pytest_testlab.platform import postgresql
from pytest_testlab.platform.scripting import compose, packaged

PROBE_WITHIN_S = 6


def logs(deployment: Deployment) -> list[Section]:
    """Sections of the files in the deploy's own folder."""
    folder, entry = deployment.data["logs"], deployment.app.entry
    build = _file("build", f"{folder}/build.log", "the build never began")
    app = _file("app", f"{folder}/app.log", "the app was never started, or has printed nothing")
    return [
        build if entry.build else Section(name="build", source=build.source, absent="the entry has no build commands"),
        _file("deploy", f"{folder}/deploy.log", "the deploy never began"),
        app if entry.static is None else Section(name="app", source=app.source, absent="a static site has no process"),
        _file("nginx-error", f"{folder}/nginx-error.log", "the front door was never opened, or has logged no error"),
        _file("nginx-access", f"{folder}/nginx-access.log", "no request came through the front door"),
    ]


def _file(name: str, path: str, absent: str) -> Section:
    """A log with the part that was rotated away before it."""
    return Section(name=name, source=path, files=(f"{path}.1", path), files_absent=absent)


def probe(deployment: Deployment, variables: dict[str, str]) -> Section:
    """The section `proxy-probe`."""
    values = variables | postgresql.probe_variables(deployment)
    values |= {
        "path": deployment.app.entry.ready.http,
        "unknown_host": f"nobody-{secrets.token_hex(6)}.testlab.internal",
        "get_py": packaged("scripts/get.py"),
    }
    return Section(
        name="proxy-probe",
        source="asked on the target, when the test had ended",
        script=compose(values, "lib", "http", "postgresql", "probe"),
        timeout_s=PROBE_WITHIN_S,
    )
