"""Builds the lab's plugin manager; works in a pytest session and outside one, and names a plugin that is broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar

import pluggy

from pytest_testlab import hookspecs
from pytest_testlab.errors import TestlabError, UsageError, one_line
from pytest_testlab.options import Settings
from pytest_testlab.protocols import CatalogFormat, Platform, Provider
from pytest_testlab.seams import blame, check_fit, check_hooks
from pytest_testlab.seams import nearest as nearest

GROUP = "testlab"
BUILT_IN = (
    "pytest_testlab.testing",
    "pytest_testlab.catalog",
    "pytest_testlab.platform",
    "pytest_testlab.diagnosis",
    "pytest_testlab.labfile",
)
T = TypeVar("T")


def plugin_manager(extra: Iterable[object] = ()) -> pluggy.PluginManager:
    """A manager with the built-ins, every installed plugin of the group `testlab`, and `extra`.

    Raises `UsageError` that names the plugin which can't be loaded, or whose hooks aren't the lab's.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for name in BUILT_IN:
        manager.register(__import__(name, fromlist=["_"]), name=name)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        who = f"the plugin {point.name!r} ({point.value})"
        try:
            plugin = point.load()
        except Exception as error:
            raise UsageError(blame(f"{who} can't be loaded: it", error)) from error
        if not manager.is_registered(plugin):
            _register(manager, plugin, who, name=point.name)
    for plugin in extra:
        _register(manager, plugin, getattr(plugin, "__file__", None) or f"the plugin {type(plugin).__name__}")
    return manager


def _register(manager: pluggy.PluginManager, plugin: object, who: str, name: str | None = None) -> None:
    check_hooks(plugin, who, manager.parse_hookimpl_opts)
    try:
        manager.register(plugin, name=name)
    except (pluggy.PluginValidationError, ValueError) as error:
        raise UsageError(f"{who}: {one_line(' '.join(str(error).split()))}") from error


def credentials(manager: pluggy.PluginManager, environ: Mapping[str, str]) -> dict[str, str]:
    """What the environment holds of that which lets providers in, by name (`testlab_credentials`)."""
    names = (name for offered in called(manager, "testlab_credentials") for name in offered or ())
    return {name: environ[name] for name in names if environ.get(name)}


def called(manager: pluggy.PluginManager, hook: str, **words: object) -> list[Any]:
    """What the plugins answer to a hook; raises `UsageError` with the place where one fails."""
    try:
        return list(getattr(manager.hook, hook)(**words))
    except Exception as error:
        raise UsageError(blame(f"a plugin's {hook}", error)) from error


def offered_formats(manager: pluggy.PluginManager, platform: str | None) -> list[CatalogFormat]:
    """What plugins read beside testlab.toml where `platform` was asked for; raises `UsageError` where one fails."""
    try:
        offered = manager.hook.testlab_catalog_formats(platform=platform)
    except Exception as error:
        raise UsageError(blame("a plugin's testlab_catalog_formats", error)) from error
    formats = [one for several in offered for one in several or ()]
    for one in formats:
        check_fit(one, CatalogFormat, f"the format {getattr(one, 'name', type(one).__name__)}")
    return formats


def made(manager: pluggy.PluginManager, kind: Literal["provider", "platform"], name: str, settings: Settings) -> Any:
    """The provider or the platform that is called `name`, held against its protocol.

    Raises `UsageError` in one line when there is none of that name, when its factory fails, or when what it makes lacks
    a method or takes other arguments; and what the factory raises of the lab's own errors.
    """
    factory = pick(kind, name, offers(called(manager, f"testlab_{kind}s")))
    try:
        plugin = factory(settings)
    except TestlabError:
        raise
    except Exception as error:
        raise UsageError(blame(f"the {kind} {name}", error, factory)) from error
    check_fit(plugin, {"provider": Provider, "platform": Platform}[kind], f"the {kind} {name}")
    return plugin


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
