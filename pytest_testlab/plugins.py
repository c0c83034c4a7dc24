"""Builds the lab's plugin manager; works in a pytest session and outside one, and names a plugin that is broken."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

import pluggy

from pytest_testlab import hookspecs
from pytest_testlab.errors import UsageError

GROUP = "testlab"
BUILT_IN = (
    "pytest_testlab.testing",
    "pytest_testlab.catalog",
    "pytest_testlab.platform",
    "pytest_testlab.diagnosis",
)
T = TypeVar("T")


def plugin_manager(extra: Iterable[object] = ()) -> pluggy.PluginManager:
    """A manager with the built-ins, every installed plugin of the group `testlab`, and `extra`.

    Raises `UsageError` that names the plugin which can't be loaded.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for name in BUILT_IN:
        manager.register(__import__(name, fromlist=["_"]), name=name)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            plugin = point.load()
        except Exception as error:
            say = f"{type(error).__name__}: {error}"
            raise UsageError(f"the plugin {point.name!r} ({point.value}) can't be loaded: {say}") from error
        if not manager.is_registered(plugin):
            manager.register(plugin, name=point.name)
    for plugin in extra:
        manager.register(plugin)
    manager.check_pending()
    return manager


def credentials(manager: pluggy.PluginManager, environ: Mapping[str, str]) -> dict[str, str]:
    """What the environment holds of that which lets providers in, by name (`testlab_credentials`)."""
    names = (name for offered in manager.hook.testlab_credentials() for name in offered or ())
    return {name: environ[name] for name in names if environ.get(name)}


def offers(results: Iterable[Mapping[str, T] | None]) -> dict[str, T]:
    """Merge what the plugins offer by name."""
    merged: dict[str, T] = {}
    for result in results:
        merged.update(result or {})
    return merged


def pick(kind: str, name: str, offered: Mapping[str, T]) -> T:
    """The one asked for; raises `UsageError` with the nearest names."""
    if name in offered:
        return offered[name]
    raise UsageError(f"no {kind} is called {name!r}{nearest(name, offered)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause that suggests the nearest known names, or lists them: "; did you mean …?"."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known: {', '.join(known)}" if known else ""
