"""What every test of the catalog has, whatever it tests; the lab, the plan and the session know no more of one.

A kind of tests is a `CatalogUnit`, the node that holds what its tests share on one target, and below it `CatalogItem`s.
Both go together with pytest's own nodes: `class Page(CatalogUnit, pytest.File)`.
"""

from __future__ import annotations

import abc
import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import pytest

from pytest_testlab.catalog.formats import ALONE, Formats
from pytest_testlab.catalog.scan import NameRegistry
from pytest_testlab.catalog.secrets import SecretLookup, require_all
from pytest_testlab.errors import CatalogError, StageFailure, TestlabError, UsageError
from pytest_testlab.model import Deployment, Entry, FailureClass, SecretRef, Subject, Verdict
from pytest_testlab.protocols import Performs

if TYPE_CHECKING:
    from pytest_testlab.catalog.lab import Lab
    from pytest_testlab.catalog.workshop import Workshop
    from pytest_testlab.protocols import Observer, Platform, Target

RERUN = "rerun"
"""The outcome of a report whose test is tried again; pytest-rerunfailures' word, which other plugins know."""


class Seen:
    """What the files of a catalog have in common while they are collected."""

    def __init__(self) -> None:
        self.names = NameRegistry()
        self.digest = hashlib.sha256()
        """Of every file's bytes, in order: workers that read others get no test."""
        self.folders: set[tuple[int, int]] = set()
        self.entries: dict[str, Entry] = {}
        """By name: what platform tests may ask for."""
        self.scanned = False
        """Whether `entries` holds what lies below pytest's root folder too, collected or not."""
        self.files: set[Path] = set()
        """Modules and conftest files that are in the digest."""
        self.formats: Formats = ALONE
        """What files are read."""
        self.images: tuple[str, ...] = ("",)
        """What the servers are made from. Where it is several, each test is there once for each of them."""

    @property
    def places(self) -> tuple[Place, ...]:
        """A place for each image."""
        several = len(self.images) > 1
        return tuple(Place(image=image, suffix=f"[{image}]" if several else "") for image in self.images)


@dataclass(frozen=True, kw_only=True)
class Place:
    """An image that tests run on, and what their ids end in because of it: nothing where there is but one."""

    image: str = ""
    suffix: str = ""


LAB: pytest.StashKey[Lab] = pytest.StashKey()
SEEN: pytest.StashKey[Seen] = pytest.StashKey()


class Headline(TestlabError):
    """What pytest shows of a failed test: the headline of its bundle, and no traceback."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("\n".join(lines))


class Failed(Headline, AssertionError):
    """The same of a test that failed: reports such as Allure's tell failed assertions from faults of the tests' own."""

    __test__ = False


@dataclass
class UnitState:
    """What the tests of one unit share while they run on one target."""

    deployment: Deployment | None = None
    """Set as soon as it is decided where the app goes, so that a deploy that broke half-way is removed too."""
    workshop: Workshop | None = None
    """Where it runs if it is no app, set as soon as that is decided."""
    site: Deployment | None = None
    """What stands for a deployment in a workshop: its folder and environment, known to no platform."""
    deployed: bool = False
    """Whether the stage `install` was got through."""
    failed: tuple[str, FailureClass] | None = None
    """The first stage that failed."""
    expected: bool = False
    """Whether that failure was the one that the entry expects."""
    skipped: str | None = None
    """Why the unit can't run here at all."""
    concealed: set[str] = field(default_factory=set, repr=False)
    """What must be masked in whatever its tests show, beside what the lab knows anyway."""
    beside: list[UnitState] = field(default_factory=list)
    """Of the apps that a test asked for by itself, in their order: they live side by side on its target."""

    @property
    def deployments(self) -> list[Deployment]:
        """Every app that stands, or may stand, on the target because of this unit."""
        states = (self, *self.beside)
        return [state.deployment for state in states if state.deployment is not None]


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """What the lab gives a test to work with."""

    target: Target
    platform: Platform
    secrets: SecretLookup = field(repr=False)
    tell: Callable[[frozenset[str]], None] = lambda values: None
    """Told of every secret that comes about, for whoever may have to mask it when this process is gone."""

    def clean_up(self, state: UnitState) -> None:
        """Remove the unit's app, or its workshop; raises `InfraError` when something of it stays."""
        if state.deployment is not None:
            self.platform.destroy(self.target, state.deployment)
            state.deployment = None
            state.deployed = False
        if state.site is not None and isinstance(self.platform, Performs):
            self.platform.clear(self.target, state.site)
            state.site = None
        if state.workshop is not None:
            state.workshop.remove()
            state.workshop = None


class Unit(Protocol):
    """What the lab must know of whatever shares a target for a while."""

    state: UnitState | None

    @property
    def alone(self) -> bool:
        """Whether it wants a target that nobody used before, and nobody uses after it."""
        ...

    def clean_up(self, equipment: Equipment, state: UnitState) -> None:
        """Remove from the target what it put there; raises `InfraError` when something of it stays."""
        ...


class CatalogUnit(pytest.Collector):
    """A node whose tests run in order on one target; pytest sets it up and tears it down around them."""

    state: UnitState | None = None

    @property
    def alone(self) -> bool:
        """Whether it wants a target that nobody used before, and nobody uses after it."""
        return False

    def setup(self) -> None:
        """Let the lab make the target fit for a new unit."""
        lab = self.config.stash.get(LAB, None)
        if lab is not None:
            lab.enter(self)
        super().setup()

    def teardown(self) -> None:
        """Remove what its tests left on the target."""
        super().teardown()
        lab = self.config.stash.get(LAB, None)
        if lab is not None:
            lab.leave(self)

    def clean_up(self, equipment: Equipment, state: UnitState) -> None:
        """Remove from the target what the unit put there; raises `InfraError` when something of it stays."""
        equipment.clean_up(state)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """A malformed file is shown as its problems, a line each."""
        if isinstance(excinfo.value, CatalogError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)


class CatalogItem(pytest.Item):
    """One test of the catalog: the row of every history."""

    result: dict[str, Any] | None = None
    """What came of it, as plain values; goes with the report to the controller."""
    remark: str | None = None
    """What to say of it though it passed."""
    concealed: set[str] | None = None
    """What must be masked in what pytest itself shows of it, beside what the lab knows anyway."""
    has_traceback = False
    """Whether pytest has more to show of its failure than the headline: the test's own code."""
    first = False
    """Whether no other test may begin before it has ended."""
    blocks_all = False
    """Whether no other test can run once it has failed."""
    place = Place()
    """Where it runs; its history has no part of that in its name."""
    stage: str
    """What it does; tests of one suite and stage are taken for equally long until they have a history."""

    @property
    @abc.abstractmethod
    def subject(self) -> Subject:
        """What it is a test of."""

    @property
    def has_app(self) -> bool:
        """Whether it tests an app; then a failure's evidence must be about that."""
        return True

    @property
    def static(self) -> bool:
        """Whether that app is a static site, without a process."""
        return False

    @property
    def is_last(self) -> bool:
        """Whether a failure that its subject expects must have come by its end."""
        return True

    @property
    def idle(self) -> str | None:
        """Why there is nothing to do for it, so that it is skipped."""
        return None

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """Its subject, and whatever else's secrets it needs."""
        return (self.subject,)

    @property
    def unit(self) -> Unit:
        """Where it belongs."""
        return next(node for node in reversed(self.listchain()) if isinstance(node, CatalogUnit))

    @abc.abstractmethod
    def work(self, equipment: Equipment, state: UnitState, observe: Observer) -> None:
        """Do on the target what the test is there for; passes by returning.

        Raises `StageFailure`, `InfraError` or `RequirementMissing`. Must keep its subject's `timeout_s` by itself.
        """

    def runtest(self) -> None:
        """Run it on this process's target."""
        self.config.stash[LAB].run(self)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """A failure is shown as its headline; only a fault of the lab's own shows a traceback."""
        if isinstance(excinfo.value, Headline | StageFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def foresaw(self, verdict: Verdict) -> str | None:
        """Why a failure of this class is no failure, in the words of the report; None when it is one."""
        expected = self.subject.expects_failure
        return f"failed with {expected.value}, as expected" if verdict.failure_class is expected else None

    def missed(self) -> str | None:
        """Why having passed is a failure; None when it isn't."""
        expected = self.subject.expects_failure
        if expected is None or not self.is_last:
            return None
        return f"expected to fail with {expected.value}, but everything passed"

    def put(self, place: Place) -> Self:
        """Say where it runs; to be called once, when it is made."""
        self.place = place
        if place.suffix:
            self.extra_keyword_matches.add(place.image)
        return self

    @property
    def row(self) -> str:
        """What its history is kept under: its id without the image."""
        if not self.place.suffix or self.nodeid.endswith(self.place.suffix):
            return self.nodeid.removesuffix(self.place.suffix)
        return self.nodeid.removesuffix(f"-{self.place.image}]") + "]"  # the last of several parameters

    @property
    def unit_key(self) -> str:
        """What its unit is known by to the plan."""
        return self.nodeid.partition("::")[0] + self.place.suffix

    def describe(self) -> dict[str, Any]:
        """What the controller must know of it, as plain values."""
        subject = self.subject
        return {
            "test": self.nodeid,
            "row": self.row,
            "image": self.place.image,
            "suffix": self.place.suffix,
            "suite": subject.suite.value,
            "entry": subject.name,
            "stage": str(self.stage),
            "priority": subject.priority.value,
            "owner": subject.owner,
            "tags": list(subject.tags),
            "file": self.nodeid.partition("::")[0],
            "unit": self.unit_key,
            "alone": self.unit.alone,
            "first": self.first,
        }


def describe(items: Iterable[pytest.Item]) -> list[dict[str, Any]]:
    """Every test of the catalog among the items."""
    return [item.describe() for item in items if isinstance(item, CatalogItem)]


def digest(config: pytest.Config) -> str:
    """A digest of every file of the catalog that was read, in order."""
    return config.stash[SEEN].digest.hexdigest()


def given_secrets(items: Iterable[pytest.Item], lookup: SecretLookup) -> set[str]:
    """The values of all secrets that entries name and somebody gave."""
    found = set()
    for name in {value.name for it in _subjects(items) for value in it.env.values() if isinstance(value, SecretRef)}:
        with contextlib.suppress(UsageError):
            found.add(lookup(name))
    return found


def missing_secrets(items: Iterable[pytest.Item], lookup: SecretLookup) -> str:
    """What is to be said of the secrets that entries name and nobody gave, a line each; empty when all are there."""
    try:
        require_all(_subjects(items), lookup)
    except UsageError as error:
        return str(error)
    return ""


def _subjects(items: Iterable[pytest.Item]) -> Iterator[Subject]:
    """Each once, where its tests stand together."""
    last = None
    for item in items:
        if isinstance(item, CatalogItem) and item.subject is not last:
            last = item.subject
            yield from item.subjects
