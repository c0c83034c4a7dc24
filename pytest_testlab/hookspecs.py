"""Every hook that a plugin of the lab can implement.

Plugins register under the entry-point group `testlab`, or sit in a `conftest.py` of the catalog. The built-in
providers, platforms, sections and rules come through the same hooks. Each hook is called once a session unless it says
otherwise, and returning None means "nothing from me".
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping

import pluggy

from pytest_testlab.model import Deployment, Section
from pytest_testlab.options import Settings
from pytest_testlab.protocols import CatalogFormat, Platform, Provider, RedactionShape, Rule, Target

PROJECT = "testlab"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def testlab_providers() -> Mapping[str, Callable[[Settings], Provider]] | None:
    """Offer providers by name; called when a session starts, and the factory only for the one that was asked for."""


@hookspec
def testlab_credentials() -> Iterable[str] | None:
    """Name the environment's variables that let providers in, such as a cloud's token; called before anything starts.

    They leave the environment, so that no child has them, and stand in `Settings.credentials` where a run is steered.
    """


@hookspec
def testlab_platforms() -> Mapping[str, Callable[[Settings], Platform]] | None:
    """Offer platforms by name; called in each process that runs tests."""


@hookspec
def testlab_catalog_formats(platform: str | None) -> Iterable[CatalogFormat] | None:
    """Offer readers of other formats than testlab.toml; called in each process that collects tests.

    `platform` is the one that was asked for by name, None where none was: a format that only one can deploy is offered
    with that one only.
    """


@hookspec
def testlab_sections(target: Target, deployment: Deployment | None) -> Iterable[Section] | None:
    """Add sections to every bundle; called after each attempt. `deployment` is None when there was no deploy yet."""


@hookspec
def testlab_classifiers() -> Iterable[Rule] | None:
    """Add rules to the classifier; called in each process that runs tests."""


@hookspec
def testlab_redactors() -> Iterable[RedactionShape] | None:
    """Add shapes of secrets to mask; called in each process that runs tests."""


@hookspec
def testlab_run_finished(run: str, state: str, counts: Mapping[str, int]) -> None:
    """Learn that a run was closed and is in the store; called in the controller, `counts` by status."""


@hookspec
def testlab_commands() -> Iterable[Callable[[argparse._SubParsersAction[argparse.ArgumentParser]], None]] | None:
    """Add commands to `testlab`; each callable adds its parser and sets `handler`, called with the parsed arguments."""


@hookspec
def testlab_doctor(settings: Settings) -> Iterable[tuple[str, bool, str]] | None:
    """Add what `testlab doctor` tells: (what was looked at, whether that will do, what to say), each in one line.

    What lacks for something that `settings` don't ask for will do, and `say` tells what it would need. Changes nothing.
    """


@hookspec
def testlab_schemas() -> Mapping[str, Callable[[], Mapping[str, object]]] | None:
    """Offer the JSON Schemas of files that users write, by name; `testlab schema NAME` calls the one asked for."""
