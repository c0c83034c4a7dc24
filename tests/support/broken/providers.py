"""For each promise of `ProviderConformance`, a provider or a line that breaks it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cloud import Cloud, CloudProvider
from testlab_local.provider import LocalProvider

from pytest_testlab.errors import InfraError, UsageError
from pytest_testlab.model import CommandResult, Resource, Server, ServerRequest
from pytest_testlab.options import Settings
from pytest_testlab.protocols import Target
from pytest_testlab.testing import MemoryProvider, MemoryTarget, ProviderConformance
from pytest_testlab.testing.targets import LAB_SECRET, LARGEST

# --- providers -------------------------------------------------------------------------------------------------------


class OddName(MemoryProvider):
    name = "an odd name!"


class NoIsolation(MemoryProvider):
    def create(self, request: ServerRequest) -> Server:
        return replace(super().create(request), isolation="")


class NoPlainValues(MemoryProvider):
    def create(self, request: ServerRequest) -> Server:
        return replace(super().create(request), facts={"root": Path("/")})  # type: ignore[dict-item]


class ShowsKey(MemoryProvider):
    def create(self, request: ServerRequest) -> Server:
        return replace(super().create(request), facts={"key": "-----BEGIN PRIVATE KEY-----"})


class OneForAll(MemoryProvider):
    def create(self, request: ServerRequest) -> Server:
        return super().create(replace(request, slot=0))


class AlwaysAnother(MemoryProvider):
    def create(self, request: ServerRequest) -> Server:
        return super().create(replace(request, run=request.run + secrets.token_hex(4)))


class SaysBytes(MemoryProvider):
    def create(self, request: ServerRequest) -> Server:
        request.say(b"made")  # type: ignore[arg-type]
        return super().create(request)


class OwnsNothing(MemoryProvider):
    def owned(self) -> Iterable[Server]:
        return ()


class KnowsItsOwnOnly(MemoryProvider):
    def connect(self, server: Server) -> Target:
        if server.name not in self._alive:
            raise InfraError("never heard of it")
        return super().connect(server)


class SameEpoch(MemoryProvider):
    def blank(self, server: Server) -> Server:
        return replace(super().blank(server), epoch=server.epoch)


class NoProof(MemoryProvider):
    def blank(self, server: Server) -> Server:
        return replace(super().blank(server), proof={})


class OutOfReach(MemoryProvider):
    def connect(self, server: Server) -> Target:
        if server.epoch:
            raise InfraError("no SSH")
        return super().connect(server)


class BlanksGhosts(MemoryProvider):
    def blank(self, server: Server) -> Server:
        return replace(server, epoch=server.epoch + 1, proof={"blank": "surely"})


class DestroysOnce(MemoryProvider):
    def destroy(self, server: Server) -> None:
        if self._alive.pop(server.name, None) is None:
            raise InfraError(f"no server {server.name}")


class DestroysAll(MemoryProvider):
    def destroy(self, server: Server) -> None:
        self._alive.clear()


class ConsoleOfBytes(MemoryProvider):
    def console(self, server: Server) -> str | None:
        return b"panic"  # type: ignore[return-value]


class ClosesOnce(MemoryProvider):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise InfraError("closed already")
        self.closed = True


class AnythingGoes(MemoryProvider):
    def connect(self, server: Server) -> Target:
        return AnyScript(server)


class AnyScript(MemoryTarget):
    def run(self, script: str, **how: Any) -> CommandResult:
        return CommandResult(exit_code=0, stdout=b"here\n", stderr=b"", seconds=0.0)


# --- for the reaper, and claims --------------------------------------------------------------------------------------


class ListsNothing(CloudProvider):
    def resources(self, kinds: Collection[str] | None = None) -> Iterable[Resource]:
        return ()


class ListsForEver(CloudProvider):
    def destroy(self, server: Server) -> None:
        self._alive.pop(server.name, None)


class RemovesNothing(CloudProvider):
    def remove(self, resource: Resource) -> None:
        """Says that it is done."""


class RemovesOnce(CloudProvider):
    def remove(self, resource: Resource) -> None:
        if (resource.kind, resource.id) not in self.cloud.there:
            raise InfraError("404 not found")
        super().remove(resource)


class ReplacesLabels(CloudProvider):
    def write_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
        kept = {"run": resource.labels["run"]}
        self.cloud.there[resource.kind, resource.id] = replace(resource, labels={**kept, **labels})


class WritesToGhosts(CloudProvider):
    def write_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
        if (resource.kind, resource.id) in self.cloud.there:
            super().write_labels(resource, labels)


class IgnoresTheClaim(MemoryProvider):
    def create(self, request: ServerRequest) -> Server:
        with contextlib.suppress(InfraError):
            request.claim("machine")
        return super().create(request)


class KeepsTheClaim(MemoryProvider):
    def create(self, request: ServerRequest) -> Server:
        request.claim("machine")
        return super().create(request)


class OnlyCounts(LocalProvider):
    """Says that a server is blank, and leaves it as it was."""

    def blank(self, server: Server) -> Server:
        return replace(server, epoch=server.epoch + 1)


# --- lines -----------------------------------------------------------------------------------------------------------


class Broken:
    """Passes everything on to a sound line."""

    def __init__(self, inner: Target) -> None:
        self.inner = inner
        self.server = inner.server

    def run(
        self, script: str, *, timeout_s: float, cwd: str | None = None, env: Mapping[str, str] | None = None
    ) -> CommandResult:
        return self.inner.run(script, timeout_s=timeout_s, cwd=cwd, env=env)

    def upload(self, folder: Path, destination: str, *, timeout_s: float = 120.0) -> None:
        self.inner.upload(folder, destination, timeout_s=timeout_s)

    def close(self) -> None:
        self.inner.close()


class Mixes(Broken):
    def run(self, script: str, **how: Any) -> CommandResult:
        result = super().run(script, **how)
        return replace(result, stdout=result.stdout + result.stderr)


class OneLineValues(Broken):
    def run(self, script: str, *, env: Mapping[str, str] | None = None, **how: Any) -> CommandResult:
        return super().run(script, env={name: value.split("\n")[0] for name, value in (env or {}).items()}, **how)


class AnyFolder(Broken):
    def run(self, script: str, *, cwd: str | None = None, **how: Any) -> CommandResult:
        return super().run(script, **how)


class GivesInput(Broken):
    def run(self, script: str, **how: Any) -> CommandResult:
        return super().run(f"printf 'a\\nb\\n' | {{ {script}\n}}", **how)


class Ascii(Broken):
    def run(self, script: str, **how: Any) -> CommandResult:
        return super().run(script.encode("ascii", "replace").decode(), **how)


class TextOnly(Broken):
    def run(self, script: str, **how: Any) -> CommandResult:
        result = super().run(script, **how)
        return replace(result, stdout=result.stdout.decode(errors="replace").encode())


class Unbounded(Broken):
    def run(self, script: str, **how: Any) -> CommandResult:
        result = super().run(script, **how)
        return replace(result, stdout=b"\0" * LARGEST + result.stdout)


class LeavesRunning(Broken):
    """Stops waiting at the deadline, and leaves there what runs."""

    def run(self, script: str, **how: Any) -> CommandResult:
        if how["timeout_s"] > 2:
            return super().run(script, **how)
        super().run(f"setsid sh -c {shlex.quote(script)} </dev/null >/dev/null 2>&1 &", timeout_s=30)
        return CommandResult(exit_code=None, stdout=b"", stderr=b"", seconds=how["timeout_s"])


class ByArgument(Broken):
    def run(self, script: str, **how: Any) -> CommandResult:
        return super().run(f"sh -c {shlex.quote(script)}", **how)


class Leaks(Broken):
    def run(self, script: str, **how: Any) -> CommandResult:
        return super().run(script, **how | {"env": {LAB_SECRET: os.environ[LAB_SECRET]}})


class KillsDaemons(Broken):
    def run(self, script: str, **how: Any) -> CommandResult:
        result = super().run(script, **how)
        if found := re.search(r"sleep (4\d{9,})", script):
            super().run(
                f"for f in $(grep -la {found[1]} /proc/[0-9]*/cmdline); do "
                'f=${f#/proc/}; [ "${f%/*}" = $$ ] || kill -9 "${f%/*}"; done 2>/dev/null; true',
                timeout_s=30,
            )
        return result


class FirstAnswer(Broken):
    first: CommandResult | None = None

    def run(self, script: str, **how: Any) -> CommandResult:
        result = super().run(script, **how)
        self.first = self.first or result
        return self.first


class ClosedForGood(Broken):
    closed = False

    def run(self, script: str, **how: Any) -> CommandResult:
        if self.closed:
            raise InfraError("the line is closed")
        return super().run(script, **how)

    def close(self) -> None:
        self.closed = True


class DropsModes(Broken):
    def upload(self, folder: Path, destination: str, *, timeout_s: float = 120.0) -> None:
        super().upload(folder, destination, timeout_s=timeout_s)
        self.inner.run("find . -type f -exec chmod a-x {} +", timeout_s=30, cwd=destination)


class DropsLinks(Broken):
    def upload(self, folder: Path, destination: str, *, timeout_s: float = 120.0) -> None:
        try:
            super().upload(folder, destination, timeout_s=timeout_s)
        except UsageError:
            return


class AllWell(Broken):
    def upload(self, folder: Path, destination: str, *, timeout_s: float = 120.0) -> None:
        try:
            super().upload(folder, destination, timeout_s=timeout_s)
        except InfraError:
            return


# --- which promise each of them breaks -------------------------------------------------------------------------------

BAD_PROVIDERS: dict[str, Callable[[Settings], Any]] = {
    "test_its_attributes_say_what_it_is": lambda _: OddName(),
    "test_create_names_the_server_and_its_provider": lambda _: NoIsolation(),
    "test_a_server_can_be_sent_to_a_worker": lambda _: NoPlainValues(),
    "test_a_server_shows_no_key": lambda _: ShowsKey(),
    "test_create_makes_a_server_for_each_slot": lambda _: OneForAll(),
    "test_create_may_be_repeated": lambda _: AlwaysAnother(),
    "test_create_calls_say_with_text": lambda _: SaysBytes(),
    "test_owned_lists_a_server_until_it_is_destroyed": lambda _: OwnsNothing(),
    "test_owned_lists_what_another_process_made": lambda _: MemoryProvider(),
    "test_a_worker_can_connect": lambda _: KnowsItsOwnOnly(),
    "test_blank_begins_a_new_epoch": lambda _: SameEpoch(),
    "test_blank_says_how_it_was_proven": lambda _: NoProof(),
    "test_blank_leaves_no_file": OnlyCounts,
    "test_blank_leaves_no_process": OnlyCounts,
    "test_blank_hands_over_a_server_that_can_be_reached": lambda _: OutOfReach(),
    "test_blank_never_hands_over_what_is_not_there": lambda _: BlanksGhosts(),
    "test_destroy_may_be_repeated": lambda _: DestroysOnce(),
    "test_destroy_of_an_unknown_server_is_done": lambda _: DestroysOnce(),
    "test_destroy_leaves_other_servers_alone": lambda _: DestroysAll(),
    "test_destroy_closes_the_server": lambda _: MemoryProvider(),
    "test_resources_list_what_create_made": lambda _: ListsNothing(Cloud()),
    "test_resources_lose_a_server_that_is_destroyed": lambda _: ListsForEver(Cloud()),
    "test_remove_removes_for_good": lambda _: RemovesNothing(Cloud()),
    "test_remove_may_be_repeated": lambda _: RemovesOnce(Cloud()),
    "test_write_labels_keeps_the_others": lambda _: ReplacesLabels(Cloud()),
    "test_write_labels_of_what_is_gone_raises": lambda _: WritesToGhosts(Cloud()),
    "test_create_claims_a_server_before_it_is_used": lambda _: MemoryProvider(),
    "test_create_hands_over_nothing_that_is_taken": lambda _: IgnoresTheClaim(),
    "test_destroy_releases_the_claim": lambda _: KeepsTheClaim(),
    "test_console_is_text_or_nothing": lambda _: ConsoleOfBytes(),
    "test_a_line_without_a_shell_says_so": lambda _: AnythingGoes(),
    "test_close_may_be_called_twice": lambda _: ClosesOnce(),
}
BAD_LINES: dict[str, type[Broken]] = {
    "test_run_keeps_output_errors_and_exit_code_apart": Mixes,
    "test_run_passes_variables_whole": OneLineValues,
    "test_run_works_in_the_folder_that_it_is_told": AnyFolder,
    "test_run_never_works_in_another_folder": AnyFolder,
    "test_run_gives_scripts_no_input": GivesInput,
    "test_run_takes_any_text": Ascii,
    "test_run_brings_back_every_byte": TextOnly,
    "test_run_bounds_output_and_keeps_its_end": Unbounded,
    "test_run_kills_on_the_server_at_the_deadline": LeavesRunning,
    "test_run_keeps_its_deadline_against_a_script_that_refuses": LeavesRunning,
    "test_run_shows_neither_script_nor_values_to_others": ByArgument,
    "test_run_leaks_nothing_of_the_lab": Leaks,
    "test_run_lets_daemons_live": KillsDaemons,
    "test_run_may_be_called_from_several_threads": FirstAnswer,
    "test_run_goes_on_after_close": ClosedForGood,
    "test_upload_brings_contents_modes_and_links": DropsModes,
    "test_upload_refuses_links_that_lead_out": DropsLinks,
    "test_upload_says_when_there_is_no_place": AllWell,
}


def suite(promise: str, shared: Target) -> type[ProviderConformance]:
    """The suite over what breaks a promise; `shared` is a sound line for the lines that are broken."""
    if promise in BAD_LINES:
        return _over_a_line(BAD_LINES[promise], shared)
    make = BAD_PROVIDERS[promise]
    shell = make is OnlyCounts or promise == "test_destroy_closes_the_server"

    class TestBroken(ProviderConformance):
        has_shell = shell
        has_claims = True
        settles_s = 0.3

        @classmethod
        def make_provider(cls, settings: Settings) -> Any:
            return make(settings)

    return TestBroken


def _over_a_line(broken: type[Broken], shared: Target) -> type[ProviderConformance]:
    class TestBroken(ProviderConformance):
        @pytest.fixture
        def shell(self, settings: Settings) -> Target:
            return broken(shared)

        @pytest.fixture
        def place(self) -> str:
            return f"{shared.server.facts['root']}/{secrets.token_hex(4)}"

    return TestBroken
