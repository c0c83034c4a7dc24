"""The conformance suite of platforms: what `protocols.Platform` promises, as tests to inherit."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import pytest

from pytest_testlab.catalog.checks import ask_as_a_stranger, wait_ready
from pytest_testlab.diagnosis.collect import collect
from pytest_testlab.diagnosis.probe import parse_probe
from pytest_testlab.errors import BuildFailed, DeadlinePassed, NoAnswer
from pytest_testlab.evidence import ProbeFacts
from pytest_testlab.model import Application, Deployment, Entry, Section, ServerRequest, Suite, new_nonce
from pytest_testlab.options import Settings
from pytest_testlab.plugins import offers, pick, plugin_manager
from pytest_testlab.protocols import Platform, Target
from pytest_testlab.target.observe import Observations
from pytest_testlab.testing.kit import Bounded, line, running, say

APP = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"hello from {os.environ['WORD']}\\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
PAGE = "<h1>a static site</h1>\n"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass
class Bench:
    """A target with the platform installed, and what was put on it."""

    platform: Platform
    target: Target
    folder: Path
    defaults: Mapping[str, Any]
    observe: Observations
    placed: list[Deployment]

    def place(
        self, env: Mapping[str, str] | None = None, secrets: frozenset[str] = frozenset(), **fields: Any
    ) -> Deployment:
        """An app of the suite's own with `fields` of its entry, and where it is to go."""
        given: dict[str, Any] = {
            "name": "hello",
            "suite": Suite.APPS,
            "file": self.folder / "testlab.toml",
            "timeout_s": 120.0,
        }
        entry = Entry(**given | {**self.defaults, **fields})
        app = Application(entry=entry, nonce=new_nonce(), env={"WORD": "nobody", **(env or {})}, secret_values=secrets)
        self.placed.append(self.platform.place(self.target, app))
        return self.placed[-1]

    def deploy(self, deployment: Deployment) -> Deployment:
        """Deploy it; doesn't wait until it answers."""
        self.platform.deploy(self.target, deployment, self.observe)
        return deployment

    def up(self, **how: Any) -> Deployment:
        """Place and deploy an app, and wait until it answers."""
        deployment = self.deploy(self.place(**how))
        self.wait(deployment)
        return deployment

    def wait(self, deployment: Deployment) -> None:
        """Wait until an app answers, as the lab does."""
        ready = deployment.app.entry.ready
        wait_ready(self.platform.client(deployment), ready, self.observe, deadline=time.monotonic() + 60)

    def status(self, deployment: Deployment) -> int | None:
        """The status of an app's answer through the front door; None for no answer."""
        try:
            return self.platform.client(deployment).request("GET", "/", timeout_s=30).status
        except NoAnswer:
            return None

    def body(self, deployment: Deployment) -> str:
        """What an app answers."""
        return self.platform.client(deployment).request("GET", "/", timeout_s=30).body.decode()

    def collected(self, sections: list[Section]) -> dict[str, bytes]:
        """Section → its text, as a bundle would hold it; sections of one name are joined."""
        texts: dict[str, bytes] = {}
        for raw in collect(self.target, sections, deadline_s=30):
            texts[raw.name] = texts.get(raw.name, b"") + raw.text
        return texts

    def probe(self, deployment: Deployment) -> ProbeFacts:
        """What the platform's probe finds."""
        return parse_probe(self.collected([self.platform.probe(self.target, deployment)]).values())


class PlatformConformance:
    """Inherit it as `class TestMine(PlatformConformance)`, and say how your platform is made.

    The server needs what your platform needs, and python3 for the app that the suite deploys, unless `runs_apps` says
    that nothing is run.
    """

    provider: ClassVar[str] = "local"
    """Who makes the server to put apps on: a provider's name. Override the fixture `target` for anything else."""
    runs_apps: ClassVar[bool] = True
    """False: apps are no processes there, and their commands only `true`, `false`, `exit CODE` and `sleep SECONDS`."""
    serves_static: ClassVar[bool] = True
    """False: an entry with `static` in place of a command can't be deployed."""

    @classmethod
    def make_platform(cls, settings: Settings) -> Platform:
        """The platform under test: what your plugin registers with `testlab_platforms`. To be overridden."""
        raise NotImplementedError(f"{cls.__name__}: override make_platform(cls, settings), which returns the platform")

    # --- fixtures -----------------------------------------------------------------------------------------------------

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, tmp_path_factory: pytest.TempPathFactory) -> Settings:
        """Settings of a lab of the suite's own."""
        return Settings(home=str(tmp_path_factory.mktemp("conformance")), provider=cls.provider)

    @pytest.fixture(scope="class")
    @classmethod
    def target(cls, settings: Settings) -> Iterator[Target]:
        """A blank target; override it to bring your own."""
        made = pick("provider", cls.provider, offers(plugin_manager().hook.testlab_providers()))(settings)
        provider = Bounded(made, 600.0)
        server = provider.create(ServerRequest(run=f"conformance-{secrets.token_hex(4)}", slot=0))
        try:
            with line(provider, server) as target:
                yield target
        finally:
            provider.destroy(server)
            provider.close()

    @pytest.fixture(scope="class")
    @classmethod
    def installed(cls, settings: Settings, target: Target) -> Platform:
        """The platform, installed on the target."""
        platform = cls.make_platform(settings)
        platform.install(target, Observations())
        return platform

    @pytest.fixture
    def bench(self, installed: Platform, target: Target, tmp_path: Path) -> Iterator[Bench]:
        """Deploys apps; all of them are destroyed afterwards."""
        folder = tmp_path / "entry"
        (folder / "site").mkdir(parents=True)
        (folder / "app.py").write_text(APP)
        (folder / "site" / "index.html").write_text(PAGE)
        defaults = {"command": "exec python3 app.py" if self.runs_apps else "true"}
        bench = Bench(installed, target, folder, defaults, Observations(), [])
        yield bench
        for deployment in bench.placed:
            installed.destroy(target, deployment)

    @pytest.fixture
    def real(self, bench: Bench) -> Bench:
        """The same, for tests that need an app that runs."""
        if not self.runs_apps:
            pytest.skip("runs_apps is False: there is no process to look at")
        return bench

    # --- install and place --------------------------------------------------------------------------------------------

    def test_install_says_what_it_installed(self, installed: Platform, target: Target) -> None:
        """Names and versions, for the run's provenance; and it may be repeated."""
        for _ in range(2):
            versions = installed.install(target, Observations())
            assert versions
            assert all(isinstance(word, str) and word for pair in versions.items() for word in pair)

    def test_install_again_leaves_apps_alone(self, bench: Bench) -> None:
        """What was deployed before answers still."""
        deployment = bench.up()
        bench.platform.install(bench.target, Observations())
        assert bench.status(deployment) == 200

    def test_place_leaves_the_target_untouched(self, bench: Bench) -> None:
        """It only decides: nothing answers yet, and the app's folder isn't there."""
        deployment = bench.place()
        assert bench.status(deployment) != 200
        assert bench.platform.listens(bench.target, deployment)
        if self.runs_apps:
            assert say(bench.target, f"[ -e '{deployment.folder}' ] || echo none") == "none"

    def test_place_gives_each_deploy_a_place_of_its_own(self, real: Bench) -> None:
        """Two deploys of one entry share neither folder nor port nor host name."""
        first, second = real.place(), real.place()
        assert first.folder != second.folder
        assert first.port != second.port
        assert first.url != second.url

    def test_place_hands_the_entrys_environment_on(self, bench: Bench) -> None:
        """All of it, and what is secret of it is marked as such."""
        deployment = bench.place(env={"TOKEN": "needle-in-token"}, secrets=frozenset({"needle-in-token"}))
        assert deployment.env["TOKEN"] == "needle-in-token"  # noqa: S105 - it is none
        assert "needle-in-token" in deployment.secret_values | deployment.app.secret_values
        assert "needle" not in repr(sorted(deployment.data.items()))

    # --- deploy -------------------------------------------------------------------------------------------------------

    def test_deploy_answers_through_the_front_door(self, bench: Bench) -> None:
        """By the host name that holds the nonce, and what answers descends from this deploy."""
        deployment = bench.up()
        assert deployment.app.nonce in deployment.url
        assert bench.status(deployment) == 200
        assert bench.platform.listens(bench.target, deployment) is None

    def test_deploy_does_not_answer_strangers(self, bench: Bench) -> None:
        """A random host gets no app's page: else a check could pass on another's."""
        ask_as_a_stranger(bench.platform, bench.up(), bench.observe)

    def test_deploy_runs_the_app_with_its_environment(self, real: Bench) -> None:
        """The answer is that of the entry's own files, with the values that this deploy was given."""
        word = f'{secrets.token_hex(4)} it\'s "$HOME"'
        assert real.body(real.up(env={"WORD": word})) == f"hello from {word}\n"

    def test_deploy_runs_builds_in_the_apps_folder(self, real: Bench) -> None:
        """One command after the other, in the folder that was uploaded, with the app's environment."""
        build = ('echo "$WORD" >built', "mkdir -p site && cat built >site/made")
        deployment = real.up(build=build, env={"WORD": "brick"})
        assert say(real.target, "cat site/made", cwd=deployment.folder) == "brick"

    def test_deploy_times_its_phases(self, bench: Bench) -> None:
        """A build is a phase of its own: what takes the time must be seen."""
        bench.up(build=("true",))
        assert {"build", "deploy"} <= set(bench.observe.phases)

    def test_two_apps_go_side_by_side(self, bench: Bench) -> None:
        """Each answers as itself, and goes without the other."""
        first, second = bench.up(env={"WORD": "first"}), bench.up(name="other", env={"WORD": "second"})
        if self.runs_apps:
            assert (bench.body(first), bench.body(second)) == ("hello from first\n", "hello from second\n")
        bench.platform.destroy(bench.target, first)
        assert bench.status(second) == 200
        assert bench.platform.listens(bench.target, second) is None

    def test_one_entry_can_be_deployed_twice(self, bench: Bench) -> None:
        """Under two nonces: nothing of the first is in the way of the second."""
        first, second = bench.up(), bench.up()
        assert bench.status(first) == bench.status(second) == 200

    def test_static_sites_are_served(self, real: Bench) -> None:
        """A folder in place of a command, also one that only the build makes."""
        if not self.serves_static:
            pytest.skip("serves_static is False")
        build = ("mkdir -p made && cp site/index.html made/",)
        deployment = real.up(command=None, static=PurePosixPath("made"), build=build)
        assert real.body(deployment) == PAGE
        assert real.platform.listens(real.target, deployment) is None
        ask_as_a_stranger(real.platform, deployment, real.observe)

    # --- failures -----------------------------------------------------------------------------------------------------

    def test_a_failed_build_says_which_command(self, bench: Bench) -> None:
        """`BuildFailed` holds the command and its exit code, and nothing after it is run."""
        with pytest.raises(BuildFailed) as caught:
            bench.deploy(bench.place(build=("true", "exit 3", "exit 4")))
        assert (caught.value.command, caught.value.exit_code) == ("exit 3", 3)
        assert bench.status(bench.placed[0]) != 200

    def test_a_failed_build_leaves_its_log(self, real: Bench) -> None:
        """What the command printed is in the bundle, from the target or from the lab's own record."""
        with pytest.raises(BuildFailed):
            real.deploy(real.place(build=("echo needle-in-build; echo needle-in-errors >&2; false",)))
        sections = real.platform.sections(real.target, real.placed[0]) + real.observe.sections()
        text = b"".join(real.collected(sections).values())
        assert b"needle-in-build\n" in text
        assert b"needle-in-errors\n" in text

    def test_a_command_that_is_not_there_is_a_failed_build(self, real: Bench) -> None:
        """With the shell's own exit code, 127."""
        with pytest.raises(BuildFailed) as caught:
            real.deploy(real.place(build=("no-such-command-anywhere",)))
        assert caught.value.exit_code == 127

    def test_a_build_ends_at_the_deadline(self, bench: Bench) -> None:
        """`DeadlinePassed` with the hop `build`, when the entry's time is up."""
        with pytest.raises(DeadlinePassed) as caught:
            bench.deploy(bench.place(build=("sleep 60",), timeout_s=1.0))
        assert caught.value.hop == "build"

    def test_an_app_that_ended_is_not_listening(self, real: Bench) -> None:
        """`listens` gives the reason, the probe the state, and the front door no page."""
        deployment = real.deploy(real.place(command="echo needle-in-app; exit 3"))
        assert real.platform.listens(real.target, deployment)
        assert real.status(deployment) != 200
        process = real.probe(deployment).process
        assert process is not None
        assert process.state in ("exited", "restarting", "absent")

    # --- evidence -----------------------------------------------------------------------------------------------------

    def test_sections_can_be_collected(self, bench: Bench) -> None:
        """Each has a name of its own and says where it comes from; their scripts run."""
        sections = bench.platform.sections(bench.target, bench.up(build=("true",)))
        names = [section.name for section in sections]
        assert len(set(names)) == len(names)
        assert all(_NAME.fullmatch(name) for name in names), names
        assert all(section.source for section in sections)
        for section in sections:
            given = (section.script, section.files or None, section.content, section.absent)
            assert len([part for part in given if part is not None]) == 1, section
        assert bench.collected(sections).keys() == set(names)

    def test_the_apps_own_words_are_in_a_section(self, real: Bench) -> None:
        """What an app prints is kept: it is what its author looks for first."""
        deployment = real.deploy(real.place(command="echo needle-in-app; exec python3 app.py"))
        real.wait(deployment)
        assert b"needle-in-app" in b"".join(real.collected(real.platform.sections(real.target, deployment)).values())

    def test_the_probe_sees_an_app_that_runs(self, bench: Bench) -> None:
        """Its lines are well-formed (docs/reference/probe-lines.md): a process that runs, a front door that answers."""
        facts = bench.probe(bench.up())
        assert not [what for what in facts.missing if what.startswith("probe line")], facts.missing
        assert facts.process is not None
        assert facts.process.state == "running"
        assert facts.front_door is not None
        assert facts.front_door.status == 200

    def test_the_probe_sees_that_there_is_no_app(self, bench: Bench) -> None:
        """Before a deploy nothing runs, and the probe says just that, or that it can't tell."""
        facts = bench.probe(bench.place())
        assert not [what for what in facts.missing if what.startswith("probe line")], facts.missing
        assert facts.process is None or facts.process.state == "absent"
        assert facts.front_door is None or facts.front_door.status != 200

    def test_secrets_are_in_no_section(self, bench: Bench) -> None:
        """Nor in the probe, nor in the lab's own record of the deploy: masking is the second line, not the first."""
        deployment = bench.up(env={"TOKEN": "needle-in-token"}, secrets=frozenset({"needle-in-token"}), build=("true",))
        sections = [*bench.platform.sections(bench.target, deployment), bench.platform.probe(bench.target, deployment)]
        texts = bench.collected([*sections, *bench.observe.sections()])
        assert not [name for name, text in texts.items() if b"needle" in text]

    def test_secrets_are_in_no_process_list(self, real: Bench) -> None:
        """Whoever lists the target's processes reads none of the app's values."""
        word = secrets.token_hex(8)
        real.up(env={"TOKEN": word}, secrets=frozenset({word}), build=("true",))
        assert word.encode() not in real.target.run("cat /proc/[0-9]*/cmdline 2>/dev/null", timeout_s=30).stdout

    # --- destroy ------------------------------------------------------------------------------------------------------

    def test_destroy_leaves_nothing(self, bench: Bench) -> None:
        """Nothing answers, nothing listens, and the app's folder is gone."""
        deployment = bench.up()
        bench.platform.destroy(bench.target, deployment)
        assert bench.status(deployment) != 200
        assert bench.platform.listens(bench.target, deployment)
        if self.runs_apps:
            assert say(bench.target, f"[ -e '{deployment.folder}' ] || echo none") == "none"

    def test_destroy_ends_all_that_an_app_started(self, real: Bench) -> None:
        """Also what detached itself from it."""
        word = secrets.token_hex(6)
        command = f"(setsid sh -c ': {word}; sleep 4000' </dev/null >/dev/null 2>&1 &) ; exec python3 app.py"
        deployment = real.deploy(real.place(command=command))
        real.wait(deployment)
        assert running(real.target, word)
        real.platform.destroy(real.target, deployment)
        assert not running(real.target, word)

    def test_destroy_may_be_repeated(self, bench: Bench) -> None:
        """Gone already is done."""
        deployment = bench.up()
        bench.platform.destroy(bench.target, deployment)
        bench.platform.destroy(bench.target, deployment)

    def test_destroy_takes_what_was_never_deployed(self, bench: Bench) -> None:
        """A deploy may have broken before it began, or half-way."""
        bench.platform.destroy(bench.target, bench.place())
        with pytest.raises(BuildFailed):
            bench.deploy(bench.place(build=("exit 3",)))
        bench.platform.destroy(bench.target, bench.placed[-1])

    def test_destroy_again_spares_a_successor(self, bench: Bench) -> None:
        """What was given back may have been given to the next app since, a port for one."""
        first = bench.up()
        bench.platform.destroy(bench.target, first)
        second = bench.up()
        bench.platform.destroy(bench.target, first)
        assert bench.status(second) == 200
