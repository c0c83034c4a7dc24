"""What each stage of an entry does on its target. A stage that returns has passed; one that raises says why not."""

from __future__ import annotations

import time
from functools import partial

from pytest_testlab.capabilities.requirements import require
from pytest_testlab.catalog.checks import ask_as_a_stranger, run_checks, wait_ready
from pytest_testlab.catalog.items import Equipment, UnitState
from pytest_testlab.catalog.secrets import resolve_env
from pytest_testlab.catalog.workshop import Workshop
from pytest_testlab.errors import BuildFailed, CheckFailed, DeadlinePassed, DeployFailed, UsageError
from pytest_testlab.model import Application, Deployment, Entry, FrontDoor, Stage, new_nonce
from pytest_testlab.protocols import GivesUp, Observer


def run_stage(stage: Stage, entry: Entry, equipment: Equipment, state: UnitState, observe: Observer) -> None:
    """Run a stage of an entry; `check` without `install` before it installs first.

    Raises `StageFailure`, `InfraError` or `RequirementMissing`.
    """
    deadline = time.monotonic() + entry.timeout_s
    if not state.deployed:
        (install if entry.deploys else _lay_out)(entry, equipment, state, observe, deadline)
    site = state.deployment or state.site
    if stage is Stage.CHECK and entry.unproven:
        raise CheckFailed(1, "all of them", "a check that holds only of this app", entry.unproven)
    if stage is Stage.CHECK and site is not None:
        run_checks(equipment.target, equipment.platform, site, observe, deadline=deadline)


def _lay_out(entry: Entry, equipment: Equipment, state: UnitState, observe: Observer, deadline: float) -> None:
    """What `install` is to a demo that is nothing but steps: its folder, uploaded and built."""
    target = equipment.target
    workshop = state.workshop = Workshop.plan(target, entry.label or entry.name)
    require(target, entry.requires)
    env, secret_values = resolve_env(entry, equipment.secrets)
    observe.conceal(*secret_values)
    equipment.tell(secret_values)
    with observe.phase("upload"):
        workshop.make()
        try:
            target.upload(entry.folder, workshop.work)
        except UsageError as error:  # what can't be sent is the entry's fault, and a failure of this test alone
            raise DeployFailed("upload", str(error)) from error
    app = Application(entry=entry, nonce=workshop.mark, env=env, secret_values=secret_values)
    state.site = Deployment(
        app=app,
        front_door=FrontDoor(host="", port=0),
        folder=workshop.work,
        port=None,
        env=workshop.environment(env),
        secret_values=secret_values,
    )
    with observe.phase("build"):
        for command in entry.build:
            _build(command, entry, state.site, equipment, observe, deadline)
    state.deployed = True


def _build(
    command: str, entry: Entry, site: Deployment, equipment: Equipment, observe: Observer, deadline: float
) -> None:
    observe.write("build", f"$ {command}\n")
    left = max(1.0, deadline - time.monotonic())
    result = equipment.target.run(f"exec 2>&1\n{command}", timeout_s=left, cwd=site.folder, env=site.env)
    observe.write("build", result.stdout)
    if result.timed_out:
        raise DeadlinePassed("build", entry.timeout_s, f"end of the build command: {command}")
    observe.write("build", f"exit code {result.exit_code} after {result.seconds:.1f} s\n")
    if result.exit_code:
        raise BuildFailed(command, result.exit_code)


def install(entry: Entry, equipment: Equipment, state: UnitState, observe: Observer, deadline: float) -> None:
    """Deploy an entry, and wait until it answers through the front door, and only there.

    `deadline` is the test's, by the monotonic clock. Raises `StageFailure`, `InfraError` or `RequirementMissing`.
    """
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
        ask = partial(platform.given_up, target, deployment) if isinstance(platform, GivesUp) else lambda: None
        wait_ready(platform.client(deployment), entry.ready, observe, deadline=deadline, given_up=ask)
        if reason := platform.listens(target, deployment):
            raise DeployFailed("listening", f"what answers is not this deploy: {reason}")
        ask_as_a_stranger(platform, deployment, observe)
    state.deployed = True
