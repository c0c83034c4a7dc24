"""The conformance suite of providers: what `protocols.Provider` promises, as tests to inherit."""

from __future__ import annotations

import datetime as dt
import pickle
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from pytest_testlab import labels
from pytest_testlab.errors import InfraError, Taken
from pytest_testlab.model import Claim, Resource, Server, ServerRequest
from pytest_testlab.options import Settings
from pytest_testlab.plugins import offers, plugin_manager
from pytest_testlab.protocols import Provider, Reapable, Target
from pytest_testlab.testing.kit import Bounded, line, running, say, until
from pytest_testlab.testing.targets import LAB_SECRET, TargetPromises, nap

Make = Callable[..., Server]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")
SPREAD = """
set -e
for folder in "$HOME" "${TMPDIR:-/tmp}" "${PLACE:-$HOME/place}"; do
    mkdir -p "$folder"
    echo used >"$folder/conformance-$WORD"
done
"""
LEFT = """
for folder in "$HOME" "${TMPDIR:-/tmp}" "${PLACE:-$HOME/place}"; do
    if [ -e "$folder/conformance-$WORD" ]; then echo "$folder"; fi
done
"""


class ProviderConformance(TargetPromises):
    """Inherit it as `class TestMine(ProviderConformance)`, and say how your provider is made.

    No more than three servers are alive at once. The servers need a POSIX shell, `setsid`, `tr` and `/proc`, unless
    `has_shell` says that they have none.
    """

    has_shell: ClassVar[bool] = True
    """False: its targets run no commands of a shell; then any script that they don't know must raise `InfraError`."""
    seen_by_others: ClassVar[bool] = True
    """False: no other process can find its servers; then a killed run leaves nothing to be found either."""
    has_claims: ClassVar[bool] = False
    """True: its servers were there before, so that it must claim each before it touches it."""
    image: ClassVar[str | None] = None
    """What to make servers from."""
    patience_s: ClassVar[float] = 600.0
    """After so many seconds a call counts as one that never returns."""
    settles_s: ClassVar[float] = 120.0
    """For so many seconds what was removed may still be listed."""

    @classmethod
    def make_provider(cls, settings: Settings) -> Provider:
        """The provider under test: what your plugin registers with `testlab_providers`. To be overridden."""
        raise NotImplementedError(f"{cls.__name__}: override make_provider(cls, settings), which returns the provider")

    @classmethod
    def make_settings(cls, home: Path) -> Settings:
        """The settings of the lab, with an empty folder as its home; override it where your provider needs more."""
        return Settings(home=str(home))

    # --- fixtures -----------------------------------------------------------------------------------------------------

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
        """Settings of a lab of the suite's own, which has a secret in its environment."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(LAB_SECRET, f"needle-{secrets.token_hex(8)}")
            yield cls.make_settings(tmp_path_factory.mktemp("conformance"))

    @pytest.fixture(scope="class")
    @classmethod
    def provider(cls, settings: Settings) -> Iterator[Bounded]:
        """The provider, none of whose calls may hang."""
        provider = Bounded(cls.make_provider(settings), cls.patience_s)
        yield provider
        provider.close()

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, provider: Bounded) -> Iterator[Server]:
        """A server that is shared by the tests that leave it as it was."""
        server = provider.create(_request(cls.image))
        yield server
        provider.destroy(server)

    @pytest.fixture(scope="class")
    @classmethod
    def target(cls, provider: Bounded, server: Server) -> Iterator[Target]:
        """A line to the shared server."""
        with line(provider, server) as target:
            yield target

    @pytest.fixture
    def shell(self, request: pytest.FixtureRequest) -> Target:
        """The shared line, for tests that need a shell at its end."""
        if not self.has_shell:
            pytest.skip("has_shell is False: there is no shell to ask")
        target: Target = request.getfixturevalue("target")
        return target

    @pytest.fixture
    def place(self, server: Server) -> str:
        """A folder of the test's own on the shared server; not there yet."""
        return f"{server.facts.get('root', '/tmp')}/{secrets.token_hex(4)}"  # noqa: S108 - on a disposable server

    @pytest.fixture
    def make(self, provider: Bounded) -> Iterator[Make]:
        """Makes servers that are gone after the test: `make()`, or `make(request)`."""
        made: list[Server] = []

        def create(request: ServerRequest | None = None) -> Server:
            made.append(provider.create(request or _request(self.image)))
            return made[-1]

        yield create
        for server in made:
            provider.destroy(server)

    @pytest.fixture
    def other(self, settings: Settings) -> Iterator[Bounded]:
        """The provider as another process of the same lab has it."""
        if not self.seen_by_others:
            pytest.skip("seen_by_others is False: there is nothing that another process could find")
        provider = Bounded(type(self).make_provider(settings), self.patience_s)
        yield provider
        provider.close()

    # --- create -------------------------------------------------------------------------------------------------------

    def test_its_attributes_say_what_it_is(self, provider: Bounded) -> None:
        """A name to be asked for by, a platform that there is, and whether it blanks between units."""
        assert _NAME.fullmatch(provider.name)
        assert provider.default_platform in offers(plugin_manager().hook.testlab_platforms())
        assert isinstance(provider.blank_between_units, bool)

    def test_create_names_the_server_and_its_provider(self, provider: Bounded, server: Server) -> None:
        """A name that may stand in a line, a label or a file's name; and in words what separates it from the lab."""
        assert _NAME.fullmatch(server.name), server.name
        assert server.provider == provider.name
        assert server.isolation.strip()
        assert server.epoch >= 0

    def test_a_server_can_be_sent_to_a_worker(self, server: Server) -> None:
        """It is made of plain values: another process gets the same."""
        assert pickle.loads(pickle.dumps(server)) == server  # noqa: S301 - what we pickled ourselves
        assert all(
            isinstance(word, str) for words in (server.facts, server.proof) for pair in words.items() for word in pair
        )

    def test_a_server_shows_no_key(self, server: Server) -> None:
        """Whoever prints a server doesn't print what leads into it."""
        key = server.ssh.private_key.strip() if server.ssh is not None else "PRIVATE KEY"
        assert key not in repr(server)
        assert "PRIVATE KEY" not in repr(server)

    def test_create_makes_a_server_for_each_slot(self, make: Make) -> None:
        """Two slots of a run never share a server."""
        request = _request(self.image)
        first, second = make(request), make(replace(request, slot=1))
        assert first.name != second.name

    def test_create_may_be_repeated(self, provider: Bounded, make: Make) -> None:
        """A request whose answer was lost is made again, and there is one server for it, not two."""
        request = _request(self.image)
        before = _names(provider)
        first = make(request)
        again = make(request)
        assert again.name == first.name
        assert _names(provider) - before == {first.name}

    def test_create_calls_say_with_text(self, provider: Bounded) -> None:
        """Whatever it tells of its work on the way is text for people."""
        said: list[object] = []
        server = provider.create(replace(_request(self.image), say=said.append))
        provider.destroy(server)
        assert all(isinstance(text, str) for text in said)

    # --- owned --------------------------------------------------------------------------------------------------------

    def test_owned_lists_a_server_until_it_is_destroyed(self, provider: Bounded, make: Make) -> None:
        """It is listed from its making on, and no longer when it is gone."""
        server = make()
        assert server.name in _names(provider)
        provider.destroy(server)
        assert server.name not in _names(provider)

    def test_owned_lists_what_another_process_made(self, other: Bounded, server: Server) -> None:
        """By what is out there and never by memory: so the reaper finds what a killed run left."""
        assert server.name in _names(other)

    def test_a_worker_can_connect(self, other: Bounded, server: Server) -> None:
        """The process that runs the tests is another one than the one that made the server."""
        with line(other, server) as target:
            assert target.server == server
            assert target.run("echo here", timeout_s=30).stdout == b"here\n"

    # --- blank --------------------------------------------------------------------------------------------------------

    def test_blank_begins_a_new_epoch(self, provider: Bounded, make: Make) -> None:
        """Each blanking counts one up, and the server keeps its name."""
        server = make()
        once = provider.blank(server)
        twice = provider.blank(once)
        assert (once.name, twice.name) == (server.name, server.name)
        assert server.epoch < once.epoch < twice.epoch

    def test_blank_says_how_it_was_proven(self, provider: Bounded, make: Make) -> None:
        """The proof is kept with the run, so it must say something."""
        proof = provider.blank(make()).proof
        assert proof
        assert all(word.strip() for word in proof.values())

    def test_blank_leaves_no_file(self, shell: Target, provider: Bounded, make: Make) -> None:
        """What an app left in its home, in the temporary folder or in the platform's place is gone."""
        server, word = make(), secrets.token_hex(6)
        variables = {"WORD": word}
        if "root" in server.facts:
            variables["PLACE"] = f"{server.facts['root']}/place"
        with line(provider, server) as target:
            say(target, SPREAD, env=variables)
        with line(provider, provider.blank(server)) as target:
            assert say(target, LEFT, env=variables) == ""

    def test_blank_leaves_no_process(self, shell: Target, provider: Bounded, make: Make) -> None:
        """Nor does any process run on, however it detached itself."""
        server, long = make(), nap()
        with line(provider, server) as target:
            say(target, f"setsid setsid nohup sleep {long} </dev/null >/dev/null 2>&1 &")
            say(target, f"(trap '' TERM HUP; setsid sleep {long} </dev/null >/dev/null 2>&1 &)")
            assert running(target, long)
        with line(provider, provider.blank(server)) as target:
            assert running(target, long) == []

    def test_blank_hands_over_a_server_that_can_be_reached(self, provider: Bounded, make: Make) -> None:
        """It takes commands at once; where address and facts stayed, over the line that there was as well."""
        server = make()
        with line(provider, server) as target:
            blank = provider.blank(server)
            if (blank.ssh, blank.facts) == (server.ssh, server.facts):
                assert target.run("echo here", timeout_s=60).stdout == b"here\n"
        with line(provider, blank) as target:
            assert target.run("echo here", timeout_s=60).stdout == b"here\n"

    def test_blank_never_hands_over_what_is_not_there(self, provider: Bounded, make: Make) -> None:
        """Of a server that is gone it raises `NotBlankError`, or another `InfraError`, or it makes a new one."""
        server = make()
        provider.destroy(server)
        try:
            made = provider.blank(server)
        except InfraError:
            return
        assert made.name in _names(provider)
        with line(provider, made) as target:
            assert target.run("echo here", timeout_s=60).stdout == b"here\n"

    # --- destroy ------------------------------------------------------------------------------------------------------

    def test_destroy_may_be_repeated(self, provider: Bounded, make: Make) -> None:
        """Gone already is done, not an error."""
        server = make()
        provider.destroy(server)
        provider.destroy(server)

    def test_destroy_of_an_unknown_server_is_done(self, provider: Bounded, server: Server) -> None:
        """Somebody else may have removed it long ago."""
        provider.destroy(replace(server, name=f"nobody-{secrets.token_hex(6)}"))

    def test_destroy_leaves_other_servers_alone(self, provider: Bounded, server: Server, make: Make) -> None:
        """A neighbour of the same run goes on."""
        provider.destroy(make())
        assert server.name in _names(provider)
        with line(provider, server) as target:
            assert target.run("echo here", timeout_s=30).stdout == b"here\n"

    def test_destroy_closes_the_server(self, shell: Target, provider: Bounded, make: Make) -> None:
        """Nobody gets a line to a server that was given back."""
        server = make()
        provider.destroy(server)
        with pytest.raises(InfraError):
            provider.connect(server)

    # --- for the reaper: where the provider is `Reapable` -------------------------------------------------------------

    @pytest.fixture
    def reapable(self, provider: Bounded) -> Bounded:
        """The provider, where what it makes can outlive its run."""
        if not isinstance(provider.inner, Reapable):
            pytest.skip("the provider isn't Reapable: what it makes ends with the process that asked for it")
        return provider

    def test_resources_list_what_create_made(self, reapable: Bounded, make: Make) -> None:
        """With all the labels of the request, which tell anybody whose it is; and nothing that isn't the lab's."""
        request = _request(self.image)
        make(request)
        found = reapable.resources()
        own = [resource for resource in found if resource.labels.get(labels.RUN) == request.run]
        assert any(resource.kind == "server" for resource in own), found
        assert all(dict(resource.labels).items() >= dict(request.labels).items() for resource in own), own
        assert all(labels.is_ours(resource.labels) for resource in found), found
        assert {resource.provider for resource in own} == {reapable.name}
        servers = [resource for resource in own if resource.kind == "server"]
        assert [it for it in reapable.resources({"server"}) if it.labels.get(labels.RUN) == request.run] == servers
        assert reapable.resources({"no such kind"}) == []

    def test_resources_lose_a_server_that_is_destroyed(self, reapable: Bounded, make: Make) -> None:
        """Whichever way it went."""
        request = _request(self.image)
        server = make(request)
        assert _of_run(reapable, request)
        reapable.destroy(server)
        until(lambda: not _of_run(reapable, request, "server"), "a destroyed server is gone", self.settles_s)

    def test_remove_removes_for_good(self, reapable: Bounded, make: Make) -> None:
        """Whatever a run made, told by its label; the server is gone with it, and a neighbour's stays."""
        request, other = _request(self.image), _request(self.image)
        server, neighbour = make(request), make(other)
        _remove_all(reapable, request)
        until(lambda: not _of_run(reapable, request), "what was removed is listed no more", self.settles_s)
        assert server.name not in _names(reapable)
        assert neighbour.name in _names(reapable)
        assert _of_run(reapable, other)

    def test_remove_may_be_repeated(self, reapable: Bounded, make: Make) -> None:
        """Gone already is done: two reapers may come at once."""
        request = _request(self.image)
        make(request)
        found = _remove_all(reapable, request)
        assert found
        until(lambda: not _of_run(reapable, request), "what was removed is listed no more", self.settles_s)
        for resource in found:
            reapable.remove(resource)

    def test_write_labels_keeps_the_others(self, reapable: Bounded, make: Make) -> None:
        """So an expiry is put off, and nothing else changes."""
        request = _request(self.image)
        make(request)
        later = labels.moment(dt.datetime.now(dt.UTC) + dt.timedelta(hours=2))
        for resource in _of_run(reapable, request):
            reapable.write_labels(resource, {labels.EXPIRES: later})
        written = [dict(resource.labels) for resource in _of_run(reapable, request)]
        assert written
        assert all(own.items() >= {**request.labels, labels.EXPIRES: later}.items() for own in written), written

    def test_write_labels_of_what_is_gone_raises(self, reapable: Bounded, make: Make) -> None:
        """Whoever puts off an expiry must know that there is nothing left to put off."""
        request = _request(self.image)
        make(request)
        [server, *_] = _of_run(reapable, request, "server")
        _remove_all(reapable, request)
        until(lambda: not _of_run(reapable, request), "what was removed is listed no more", self.settles_s)
        with pytest.raises(InfraError):
            reapable.write_labels(server, {labels.EXPIRES: "1"})

    # --- claims: where servers were there before ----------------------------------------------------------------------

    @pytest.fixture
    def claiming(self, provider: Bounded) -> Bounded:
        """The provider, where its servers were there before."""
        if not self.has_claims:
            pytest.skip("has_claims is False: nobody else can come for what it makes")
        return provider

    def test_create_claims_a_server_before_it_is_used(self, claiming: Bounded, make: Make) -> None:
        """By what is the machine's own, once for each server that it hands over."""
        claimed: list[str] = []

        def claim(name: str) -> Claim:
            claimed.append(name)
            return Claim()

        make(replace(_request(self.image), claim=claim))
        assert claimed
        assert all(_NAME.fullmatch(name) for name in claimed), claimed

    def test_create_hands_over_nothing_that_is_taken(self, claiming: Bounded) -> None:
        """It raises `InfraError` when somebody else has every server, and touches none."""
        before = _names(claiming)

        def claim(name: str) -> Claim:
            raise Taken(name, "another run")

        with pytest.raises(InfraError, match="another run"):
            claiming.create(replace(_request(self.image), claim=claim))
        assert _names(claiming) == before

    def test_destroy_releases_the_claim(self, claiming: Bounded) -> None:
        """So that the next run needn't wait until the lease ends by itself."""

        class Counted(Claim):
            released = 0

            def release(self) -> None:
                self.released += 1

        claims: list[Counted] = []

        def claim(name: str) -> Claim:
            claims.append(Counted())
            return claims[-1]

        server = claiming.create(replace(_request(self.image), claim=claim))
        held = [one for one in claims if not one.released]
        claiming.destroy(server)
        assert held
        assert all(one.released for one in claims)

    # --- the rest -----------------------------------------------------------------------------------------------------

    def test_console_is_text_or_nothing(self, provider: Bounded, server: Server, make: Make) -> None:
        """Of a live server and of one that is gone: it is asked for just when things are bad."""
        gone = make()
        provider.destroy(gone)
        for which in (server, gone):
            console = provider.console(which)
            assert console is None or isinstance(console, str)

    def test_a_line_without_a_shell_says_so(self, provider: Bounded, server: Server) -> None:
        """A script that isn't understood raises `InfraError`; it never counts as run."""
        if self.has_shell:
            pytest.skip("has_shell is True: every script is understood")
        with line(provider, server) as target, pytest.raises(InfraError):
            target.run("for word in a b; do printf %s $word; done", timeout_s=10)

    def test_close_may_be_called_twice(self, settings: Settings) -> None:
        """The lab ends a provider that has a `close`, and may do so again."""
        provider = Bounded(type(self).make_provider(settings), self.patience_s)
        provider.close()
        provider.close()


def _request(image: str | None) -> ServerRequest:
    """A request of a run that nobody else is."""
    run = f"conformance-{secrets.token_hex(4)}"
    expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    own = labels.labels_of(run=run, slot=0, expires_at=expires_at)
    return ServerRequest(run=run, slot=0, image=image, labels=own, expires_at=expires_at)


def _of_run(provider: Bounded, request: ServerRequest, kind: str | None = None) -> list[Resource]:
    """What is listed of a request's run."""
    return [
        resource
        for resource in provider.resources()
        if resource.labels.get(labels.RUN) == request.run and kind in (None, resource.kind)
    ]


def _remove_all(provider: Bounded, request: ServerRequest) -> list[Resource]:
    """Remove what is listed of a request's run, servers first; returns it."""
    found = sorted(_of_run(provider, request), key=lambda resource: resource.kind != "server")
    for resource in found:
        provider.remove(resource)
    return found


def _names(provider: Bounded) -> set[str]:
    return {server.name for server in provider.owned()}
