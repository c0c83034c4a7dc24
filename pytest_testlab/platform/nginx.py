"""The texts of nginx's configuration."""

from __future__ import annotations

from pytest_testlab.model import Deployment
from pytest_testlab.platform.layout import Layout
from pytest_testlab.platform.scripting import packaged

LEAST_PATIENCE_S = 90
"""The least that nginx waits for an app: longer than anyone else does, so that a hang shows as a hang."""


def main_config(layout: Layout) -> str:
    """The configuration of a front door without apps: any host gets 421."""
    return _fill("nginx.conf", LISTEN=layout.bind)


def vhost(layout: Layout, deployment: Deployment) -> str:
    """The vhost of one app: a proxy to its process, or its folder."""
    entry = deployment.app.entry
    shared = {"LISTEN": layout.bind, "HOST": deployment.app.host, "LOGS": deployment.data["logs"]}
    if entry.static is not None:
        return _fill("vhost-static.conf", FOLDER=f"{deployment.folder}/{entry.static}", **shared)
    patience = max(LEAST_PATIENCE_S, int(entry.ready.within_s) + 30)
    return _fill("vhost-process.conf", PORT=str(deployment.port), PATIENCE=str(patience), **shared)


def _fill(template: str, **values: str) -> str:
    text = packaged(f"templates/{template}")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
