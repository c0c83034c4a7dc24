"""Collects the evidence of an attempt, masks secrets in it, and names the cause of a failure.

The built-in sections, rules and shapes of secrets come through the same hooks that a plugin uses. This module is
imported wherever the lab's plugins are loaded, so the work is imported inside the hooks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_testlab.hookspecs import hookimpl

if TYPE_CHECKING:
    from pytest_testlab.model import Deployment, Section
    from pytest_testlab.protocols import RedactionShape, Rule, Target


@hookimpl
def testlab_sections(target: Target, deployment: Deployment | None) -> Iterable[Section]:
    """Journald, resources and dns, of any target."""
    from pytest_testlab.diagnosis.sections import built_in_sections

    return built_in_sections(target.server, deployment)


@hookimpl
def testlab_classifiers() -> Iterable[Rule]:
    """The rules behind the table of classes."""
    from pytest_testlab.diagnosis.rules import BUILT_IN_RULES

    return BUILT_IN_RULES


@hookimpl
def testlab_redactors() -> Iterable[RedactionShape]:
    """The well-known shapes of secrets."""
    from pytest_testlab.diagnosis.shapes import BUILT_IN_SHAPES

    return BUILT_IN_SHAPES
