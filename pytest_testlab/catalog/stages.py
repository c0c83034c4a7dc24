"""What each stage of an entry does on its target. A stage that returns has passed; one that raises says why not."""

from __future__ import annotations

import time

from pytest_testlab.capabilities.requirements import require
from pytest_testlab.catalog.checks import ask_as_a_stranger, run_checks, wait_ready
from pytest_testlab.catalog.items import Equipment, UnitState
from pytest_testlab.catalog.secrets import resolve_env
from pytest_testlab.errors import DeployFailed
from pytest_testlab.model import Application, Entry, Stage, new_nonce
from pytest_testlab.protocols import Observer


def run_stage(stage: Stage, entry: Entry, equipment: Equipment, state: UnitState, observe: Observer) -> None:
    """Run a stage of an entry; `check` without `install` before it installs first.

    Raises `StageFailure`, `InfraError` or `RequirementMissing`.
    """
    deadline = time.monotonic() + entry.timeout_s
    if not state.deployed:
        _install(entry, equipment, state, observe, deadline)
    if stage is Stage.CHECK and state.deployment is not None:
        run_checks(equipment.target, equipment.platform, state.deployment, observe, deadline=deadline)


def _install(entry: Entry, equipment: Equipment, state: UnitState, observe: Observer, deadline: float) -> None:
    target, platform = equipment.target, equipment.platform
    if entry.requires:
        require(target, entry.requires)
    env, secret_values = resolve_env(entry, equipment.secrets)
    observe.conceal(*secret_values)
    app = Application(entry=entry, nonce=new_nonce(), env=env, secret_values=secret_values)
    equipment.tell(secret_values)
    deployment = state.deployment = platform.place(target, app)
    equipment.tell(deployment.secret_values)
    platform.deploy(target, deployment, observe)
    with observe.phase("ready"):
        wait_ready(platform.client(deployment), entry.ready, observe, deadline=deadline)
        if reason := platform.listens(target, deployment):
            raise DeployFailed("listening", f"what answers is not this deploy: {reason}")
        ask_as_a_stranger(platform, deployment, observe)
    state.deployed = True
