"""What each stage of an entry does on its target. A stage that returns has passed; one that raises says why not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pytest_testlab.capabilities.requirements import require
from pytest_testlab.catalog.checks import ask_as_a_stranger, run_checks, wait_ready
from pytest_testlab.catalog.secrets import SecretLookup, resolve_env
from pytest_testlab.errors import DeployFailed
from pytest_testlab.model import Application, Deployment, Entry, FailureClass, Stage, new_nonce
from pytest_testlab.protocols import Observer, Platform, Target


@dataclass
class UnitState:
    """What the tests of one entry share while they run on one target."""

    deployment: Deployment | None = None
    """Set as soon as it is decided where the app goes, so that a deploy that broke half-way is removed too."""
    deployed: bool = False
    """Whether the stage `install` was got through."""
    failed: tuple[Stage, FailureClass] | None = None
    """The first stage that failed."""
    expected: bool = False
    """Whether that failure was the one that the entry expects."""
    skipped: str | None = None
    """Why the entry can't run here at all."""
    concealed: set[str] = field(default_factory=set, repr=False)
    """What must be masked in whatever its tests show, beside what the lab knows anyway."""


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Runs the stages of entries on one target."""

    target: Target
    platform: Platform
    secrets: SecretLookup = field(repr=False)
    tell: Callable[[frozenset[str]], None] = lambda values: None
    """Told of every secret that comes about, for whoever may have to mask it when this process is gone."""

    def run(self, stage: Stage, entry: Entry, state: UnitState, observe: Observer) -> None:
        """Run a stage; `check` without `install` before it installs first.

        Raises `StageFailure`, `InfraError` or `RequirementMissing`.
        """
        deadline = time.monotonic() + entry.timeout_s
        if not state.deployed:
            self._install(entry, state, observe, deadline)
        if stage is Stage.CHECK and state.deployment is not None:
            run_checks(self.target, self.platform, state.deployment, observe, deadline=deadline)

    def _install(self, entry: Entry, state: UnitState, observe: Observer, deadline: float) -> None:
        if entry.requires:
            require(self.target, entry.requires)
        env, secret_values = resolve_env(entry, self.secrets)
        observe.conceal(*secret_values)
        app = Application(entry=entry, nonce=new_nonce(), env=env, secret_values=secret_values)
        self.tell(secret_values)
        deployment = state.deployment = self.platform.place(self.target, app)
        self.tell(deployment.secret_values)
        self.platform.deploy(self.target, deployment, observe)
        with observe.phase("ready"):
            wait_ready(self.platform.client(deployment), entry.ready, observe, deadline=deadline)
            if reason := self.platform.listens(self.target, deployment):
                raise DeployFailed("listening", f"what answers is not this deploy: {reason}")
            ask_as_a_stranger(self.platform, deployment, observe)
        state.deployed = True

    def leave(self, state: UnitState) -> None:
        """Remove the entry's app; raises `InfraError` when something of it stays."""
        if state.deployment is not None:
            self.platform.destroy(self.target, state.deployment)
            state.deployment = None
            state.deployed = False
