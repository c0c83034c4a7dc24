"""For each promise of `PlatformConformance`, a platform that breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from pytest_testlab.errors import BuildFailed, DeadlinePassed, InfraError
from pytest_testlab.model import Application, Deployment, Section
from pytest_testlab.options import Settings
from pytest_testlab.platform.procfile import ProcfilePlatform
from pytest_testlab.protocols import Observer, Target
from pytest_testlab.target.observe import Observations
from pytest_testlab.testing import MemoryPlatform, PlatformConformance
from pytest_testlab.testing.memory import RUNNING, MemoryClient

# --- on nothing but names --------------------------------------------------------------------------------------------


class SaysNothing(MemoryPlatform):
    def install(self, target: Target, observe: Observer) -> Mapping[str, str]:
        return {}


class StartsAfresh(MemoryPlatform):
    def install(self, target: Target, observe: Observer) -> Mapping[str, str]:
        self._running.clear()
        return super().install(target, observe)


class PlacesTooMuch(MemoryPlatform):
    def place(self, target: Target, app: Application) -> Deployment:
        self._running.add(app.host)
        return super().place(target, app)


class DropsEnvironment(MemoryPlatform):
    def place(self, target: Target, app: Application) -> Deployment:
        return replace(super().place(target, app), env={})


class Deaf(MemoryPlatform):
    def client(self, deployment: Deployment, *, host: str | None = None) -> MemoryClient:
        return MemoryClient(known=False)


class ForEverybody(MemoryPlatform):
    def client(self, deployment: Deployment, *, host: str | None = None) -> MemoryClient:
        return MemoryClient(known=True)


class Untimed(MemoryPlatform):
    def deploy(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        super().deploy(target, deployment, Observations())


class DestroysAll(MemoryPlatform):
    def destroy(self, target: Target, deployment: Deployment) -> None:
        self._running.clear()


class OneAtATime(MemoryPlatform):
    def deploy(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        self._running.clear()
        super().deploy(target, deployment, observe)


class VagueFailure(MemoryPlatform):
    def deploy(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        try:
            super().deploy(target, deployment, observe)
        except BuildFailed as error:
            raise BuildFailed("the build", 1) from error


class OtherHop(MemoryPlatform):
    def deploy(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        try:
            super().deploy(target, deployment, observe)
        except DeadlinePassed as error:
            raise DeadlinePassed("check", error.seconds, error.waiting_for) from error


class TwiceTheSame(MemoryPlatform):
    def sections(self, target: Target, deployment: Deployment) -> list[Section]:
        return 2 * super().sections(target, deployment)


class Mumbles(MemoryPlatform):
    def probe(self, target: Target, deployment: Deployment) -> Section:
        return Section(name="proxy-probe", source="memory", content=b"all is well\n")


class AlwaysRunning(MemoryPlatform):
    def probe(self, target: Target, deployment: Deployment) -> Section:
        return Section(name="proxy-probe", source="memory", content=RUNNING.encode())


class TellsSecrets(MemoryPlatform):
    def sections(self, target: Target, deployment: Deployment) -> list[Section]:
        return [Section(name="env", source="memory", content=repr(deployment.env).encode())]


class DestroysNothing(MemoryPlatform):
    def destroy(self, target: Target, deployment: Deployment) -> None:
        return


class DestroysOnce(MemoryPlatform):
    def destroy(self, target: Target, deployment: Deployment) -> None:
        if deployment.app.host not in self._running:
            raise InfraError("no such app")
        super().destroy(target, deployment)


# --- on a real target ------------------------------------------------------------------------------------------------


class SamePort(ProcfilePlatform):
    def place(self, target: Target, app: Application) -> Deployment:
        return replace(super().place(target, app), port=1)


class OtherWords(ProcfilePlatform):
    def place(self, target: Target, app: Application) -> Deployment:
        return super().place(target, replace(app, env={**app.env, "WORD": "another"}))


class NeverBuilds(ProcfilePlatform):
    def deploy(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        app = replace(deployment.app, entry=replace(deployment.app.entry, build=()))
        super().deploy(target, replace(deployment, app=app), observe)


class DeniesSites(ProcfilePlatform):
    def listens(self, target: Target, deployment: Deployment) -> str | None:
        return "nobody listens" if deployment.port is None else super().listens(target, deployment)


class NoLogs(ProcfilePlatform):
    def sections(self, target: Target, deployment: Deployment) -> list[Section]:
        return []


class OtherCode(ProcfilePlatform):
    def deploy(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        try:
            super().deploy(target, deployment, observe)
        except BuildFailed as error:
            raise BuildFailed(error.command, 1) from error


class AlwaysListens(ProcfilePlatform):
    def listens(self, target: Target, deployment: Deployment) -> str | None:
        return None


class ShowsSecrets(ProcfilePlatform):
    def deploy(self, target: Target, deployment: Deployment, observe: Observer) -> None:
        super().deploy(target, deployment, observe)
        target.run(
            f"TESTLAB_DEPLOY={deployment.app.nonce} setsid sh -c 'sleep 4000; : {deployment.env['TOKEN']}' "
            "</dev/null >/dev/null 2>&1 &",
            timeout_s=30,
        )


class LetsRun(ProcfilePlatform):
    """Forgets once that something is to be removed."""

    forgot = False

    def destroy(self, target: Target, deployment: Deployment) -> None:
        if self.forgot:
            super().destroy(target, deployment)
        self.forgot = True


# --- which promise each of them breaks -------------------------------------------------------------------------------

BAD_PLATFORMS: dict[str, type[MemoryPlatform] | type[ProcfilePlatform]] = {
    "test_install_says_what_it_installed": SaysNothing,
    "test_install_again_leaves_apps_alone": StartsAfresh,
    "test_place_leaves_the_target_untouched": PlacesTooMuch,
    "test_place_gives_each_deploy_a_place_of_its_own": SamePort,
    "test_place_hands_the_entrys_environment_on": DropsEnvironment,
    "test_deploy_answers_through_the_front_door": Deaf,
    "test_deploy_does_not_answer_strangers": ForEverybody,
    "test_deploy_runs_the_app_with_its_environment": OtherWords,
    "test_deploy_runs_builds_in_the_apps_folder": NeverBuilds,
    "test_deploy_times_its_phases": Untimed,
    "test_two_apps_go_side_by_side": DestroysAll,
    "test_one_entry_can_be_deployed_twice": OneAtATime,
    "test_static_sites_are_served": DeniesSites,
    "test_a_failed_build_says_which_command": VagueFailure,
    "test_a_failed_build_leaves_its_log": NoLogs,
    "test_a_command_that_is_not_there_is_a_failed_build": OtherCode,
    "test_a_build_ends_at_the_deadline": OtherHop,
    "test_an_app_that_ended_is_not_listening": AlwaysListens,
    "test_sections_can_be_collected": TwiceTheSame,
    "test_the_apps_own_words_are_in_a_section": NoLogs,
    "test_the_probe_sees_an_app_that_runs": Mumbles,
    "test_the_probe_sees_that_there_is_no_app": AlwaysRunning,
    "test_secrets_are_in_no_section": TellsSecrets,
    "test_secrets_are_in_no_process_list": ShowsSecrets,
    "test_destroy_leaves_nothing": DestroysNothing,
    "test_destroy_ends_all_that_an_app_started": LetsRun,
    "test_destroy_may_be_repeated": DestroysOnce,
    "test_destroy_takes_what_was_never_deployed": DestroysOnce,
    "test_destroy_again_spares_a_successor": DestroysAll,
}


def suite(promise: str, shared: Target) -> type[PlatformConformance]:
    """The suite over what breaks a promise; `shared` is a target for the platforms that need a real one."""
    broken = BAD_PLATFORMS[promise]
    real = issubclass(broken, ProcfilePlatform)

    class TestBroken(PlatformConformance):
        provider = "memory"
        runs_apps = real

        @classmethod
        def make_platform(cls, settings: Settings) -> Any:
            return broken()

    if real:

        @pytest.fixture(scope="class")
        @classmethod
        def target(cls: type[PlatformConformance]) -> Target:
            return shared

        TestBroken.target = target  # type: ignore[method-assign, assignment]
    return TestBroken
