"""The install of the platform as a test of the night: from scratch, on a blank target, before anything else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pytest_testlab.catalog.items import LAB, CatalogItem, Equipment, Place, UnitState
from pytest_testlab.model import EnvValue, FailureClass, Priority, Stage, Subject, Suite

if TYPE_CHECKING:
    from pytest_testlab.protocols import Observer

NODE_ID = "platform::install"
WITHIN_S = 900.0
"""For the install of a platform, also where it is no test."""


@dataclass(frozen=True, kw_only=True)
class _ThePlatform:
    """The subject of the test."""

    name: str = "platform"
    suite: Suite = Suite.PLATFORM
    priority: Priority = Priority.P0
    tags: tuple[str, ...] = ()
    owner: str | None = None
    timeout_s: float = WITHIN_S
    expects_failure: FailureClass | None = None
    env: Mapping[str, EnvValue] = field(default_factory=dict)


class InstallItem(CatalogItem):
    """`platform::install`: what every other test of the catalog stands on."""

    stage = Stage.INSTALL
    state: UnitState | None = None
    alone = False
    has_app = False
    blocks_all = True
    first = True
    _platform = _ThePlatform()

    @classmethod
    def of(cls, session: pytest.Session, place: Place) -> InstallItem:
        """The one of a session, on one of its images."""
        name, nodeid = Stage.INSTALL.value + place.suffix, NODE_ID + place.suffix
        item: InstallItem = cls.from_parent(session, name=name, nodeid=nodeid).put(place)
        for mark in (Suite.PLATFORM, Priority.P0, Stage.INSTALL):
            item.add_marker(mark.value)
        return item

    @property
    def subject(self) -> Subject:
        """The platform."""
        return self._platform

    @property
    def unit(self) -> InstallItem:
        """Itself."""
        return self

    @property
    def unit_key(self) -> str:
        """Its node id."""
        return self.nodeid

    def setup(self) -> None:
        """Let the lab make the target blank again, where this is a second try."""
        self.config.stash[LAB].enter(self)

    def teardown(self) -> None:
        """Nothing is removed: what was installed is what the others need."""
        self.config.stash[LAB].leave(self)

    def clean_up(self, equipment: Equipment, state: UnitState) -> None:
        """Nothing."""

    def work(self, equipment: Equipment, state: UnitState, observe: Observer) -> None:
        """Install the platform on a target that has none, and take down which versions came of it."""
        server = equipment.target.server
        observe.write("install", f"{equipment.platform.name} on {server.name}, epoch {server.epoch}\n")
        for what, how in server.proof.items():
            observe.write("install", f"  {what}: {how}\n")
        with observe.phase("install"):
            versions = equipment.platform.install(equipment.target, observe)
        self.remark = ", ".join(f"{name} {version}" for name, version in versions.items())
        observe.write("install", f"installed: {self.remark}\n")

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where it comes from, for people: no file of the catalog."""
        return self.session.path, None, self.nodeid
