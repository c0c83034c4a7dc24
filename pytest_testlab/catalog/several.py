"""Several apps side by side on one target: how their sections are told apart, and which of them is to blame."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from pytest_testlab.catalog.items import UnitState
from pytest_testlab.diagnosis.classify import PROBE
from pytest_testlab.diagnosis.collect import RawSection
from pytest_testlab.model import Bundle, Deployment, FailureClass, Section

RANK = {failure_class: rank for rank, failure_class in enumerate(FailureClass)}
Labelled = tuple[str, Deployment]


def labelled(deployments: Sequence[Deployment]) -> list[Labelled]:
    """What is added to the names of each app's sections: nothing for the first, then `-notes`, `-notes-2`, …"""
    found: list[Labelled] = []
    for deployment in deployments:
        same = sum(other.app.name == deployment.app.name for _, other in found[1:])
        label = f"-{deployment.app.name}" + (f"-{same + 1}" if same else "")
        found.append((label if found else "", deployment))
    return found


def named(sections: Sequence[Section], label: str) -> list[Section]:
    """An app's sections under names of their own."""
    return [dataclasses.replace(section, name=section.name + label) for section in sections] if label else [*sections]


def suspects(state: UnitState) -> list[Labelled]:
    """The apps that a failure may be about: the one whose deploy wasn't got through, else all that stand."""
    unfinished = [s.deployment for s in state.beside if s.deployment is not None and not s.deployed]
    every = labelled(state.deployments)
    return [pair for pair in every if not unfinished or any(pair[1] is one for one in unfinished)]


def judged(raw: Sequence[RawSection], about: Sequence[Labelled], judge: Callable[..., Bundle]) -> Bundle:
    """The verdict on the app whose class comes first in the table, by its own probe; `judge(raw, deployment)`."""
    bundles = [_as_if_alone(raw, label, deployment, judge) for label, deployment in about]
    return min(bundles, key=lambda bundle: RANK[bundle.verdict.failure_class] if bundle.verdict else -1)


def _as_if_alone(raw: Sequence[RawSection], label: str, deployment: Deployment, judge: Callable[..., Bundle]) -> Bundle:
    names = {PROBE + label: PROBE, PROBE: f"{PROBE} "} if label else {}
    back = {shown: name for name, shown in names.items()}
    renamed = [dataclasses.replace(section, name=names.get(section.name, section.name)) for section in raw]
    bundle = judge(renamed, deployment)
    sections = tuple(dataclasses.replace(part, name=back.get(part.name, part.name)) for part in bundle.sections)
    return dataclasses.replace(bundle, sections=sections)
