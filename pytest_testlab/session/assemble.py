"""Puts a `Lab` together: in a worker from what came over xdist's channel, else from the run of this process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pluggy
import pytest

from pytest_testlab.catalog.lab import Lab
from pytest_testlab.catalog.secrets import SecretSource
from pytest_testlab.moments import Moments
from pytest_testlab.options import OPTIONS, Settings
from pytest_testlab.plugins import made, plugin_manager
from pytest_testlab.recording.journal import Journal


def hooks_of(config: pytest.Config) -> pluggy.PluginManager:
    """The lab's plugin manager of a session: installed plugins, and the catalog's conftest files."""
    known = config.pluginmanager.get_plugins()
    conftests = [plugin for plugin in known if Path(getattr(plugin, "__file__", None) or "").name == "conftest.py"]
    return plugin_manager(extra=conftests)


def wire(
    *,
    run: str,
    folders: Mapping[str, Path],
    provider: str,
    platform: str,
    slot: int,
    worker: str,
    secrets: Mapping[str, str],
    clock: float,
    hidden: Iterable[str],
) -> dict[str, Any]:
    """What a worker is told when it starts, as builtins: the first of the folders is that of the session's first run.

    Secrets travel in memory only.
    """
    return {
        "run": run,
        "folders": {image: str(folder) for image, folder in folders.items()},
        "provider": provider,
        "platform": platform,
        "slot": slot,
        "worker": worker,
        "secrets": dict(secrets),
        "clock": clock,
        "hidden": list(hidden),
    }


def lab_from_wire(config: pytest.Config, settings: Settings) -> Lab:
    """The lab of a worker."""
    told: dict[str, Any] = config.workerinput["testlab"]  # type: ignore[attr-defined]
    return make_lab(
        hooks_of(config), replace(settings, steers=False), **{key: told[key] for key in told if key != "run"}
    )


def secret_source(settings: Settings, secrets: Mapping[str, str]) -> SecretSource:
    """Where entries' secrets are looked for: what was taken out of the environment, then `testlab_secrets_dir`."""
    return SecretSource(environ=secrets, folder=None if settings.secrets_dir is None else Path(settings.secrets_dir))


def hidden_values(settings: Settings) -> list[str]:
    """The lab's own secrets, which no worker uses, and each must mask: of the store's URL only the password is one."""
    hidden = list(settings.credentials.values())
    for option in OPTIONS:
        value = getattr(settings, option.name) if option.secret else None
        if value:
            hidden += _passwords(value) if "://" in value else [value]
    return hidden


def _passwords(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
        return [unquote(word) for word in (parts.password, *parse_qs(parts.query).get("password", ())) if word]
    except ValueError:
        return [url]


def make_lab(
    hooks: pluggy.PluginManager,
    settings: Settings,
    *,
    folders: Mapping[str, str],
    provider: str,
    platform: str,
    slot: int,
    worker: str,
    secrets: Mapping[str, str],
    clock: float,
    hidden: Iterable[str],
) -> Lab:
    """A lab with a segment of its own in the journal of each image's run. `clock` is the base of their moments."""
    return Lab(
        slot=slot,
        provider=made(hooks, "provider", provider, settings),
        platform=made(hooks, "platform", platform, settings),
        hooks=hooks,
        journals={image: Journal(Path(folder), worker) for image, folder in folders.items()},
        secrets=secret_source(settings, secrets),
        known_secrets=frozenset((*secrets.values(), *hidden)),
        moments=Moments(clock),
        keeps=settings.keep != "no",
    )
