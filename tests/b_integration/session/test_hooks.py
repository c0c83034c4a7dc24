"""Each hook, implemented by the conftest.py of a catalog as an outsider would."""

from __future__ import annotations

import pytest
from sessions import LabSession

from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.reads import attempts

PLATFORM = """
    from dataclasses import replace
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.model import Section
    from pytest_testlab.testing import MemoryPlatform

    class Shelf(MemoryPlatform):
        name = "shelf"

        def sections(self, target, deployment):
            return [Section(name="shelf", source="the shelf", content=b"third from the left")]

    @hookimpl
    def testlab_platforms():
        return {"shelf": lambda settings: Shelf()}
"""
LINES = """
    from dataclasses import replace
    from pathlib import Path
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.testing import MemoryProvider

    class Switchboard(MemoryProvider):
        blank_between_units = True

        def blank(self, server):
            server = super().blank(server)
            return replace(server, facts={"boot": str(server.epoch)} if CHANGES else {})

        def connect(self, server):
            with Path("lines").open("a") as file:
                file.write(f"{server.epoch}\\n")
            return super().connect(server)

    @hookimpl
    def testlab_providers():
        return {"switchboard": lambda settings: Switchboard()}
"""
FORMAT = """
    from pathlib import Path
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.model import Entry, Suite

    class Slips:
        name = "slips"

        def passes_over(self, names):
            return "KEEP_OUT" in names

        def entry_file(self, folder, names):
            return folder / "app.slip" if "app.slip" in names else None

        def read(self, file, data, place):
            name = file.parent.name
            return Entry(
                file=file, name=f"slips/{name}", label=name, suite=Suite.APPS, command=data.decode(), rejected=True,
                unproven="there is nothing to check",
            )

        def page(self, file):
            return None

    @hookimpl
    def testlab_catalog_formats(platform):
        return [Slips()] if platform == "memory" else None
"""
KEY = "sesame-opens-the-cave-7"
CLOUD = """
    import os
    from pathlib import Path
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.testing import MemoryProvider

    def cloud(settings):
        kept = settings.credentials.get("CLOUD_KEY", "")
        with Path("seen").open("a") as file:
            file.write(f"{len(kept)} {os.environ.get('CLOUD_KEY')}\\n")
        return Cloud(kept)

    class Cloud(MemoryProvider):
        def __init__(self, key):
            super().__init__()
            self.key = key

        def create(self, request):
            request.say(f"let in with {self.key}")
            return super().create(request)

    @hookimpl
    def testlab_credentials():
        return ["CLOUD_KEY"]

    @hookimpl
    def testlab_providers():
        return {"cloud": cloud}
"""
RULE = """
    import re
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.model import FailureClass, Section, Verdict
    from pytest_testlab.protocols import RedactionShape, Rule

    def decide(evidence):
        if b"moon is full" in evidence.sections.get("sky", b""):
            return Verdict(failure_class=FailureClass.INFRA, rule="infra/full-moon", say="the moon is full")

    @hookimpl
    def testlab_classifiers():
        return [Rule(name="infra/full-moon", failure_class=FailureClass.INFRA, decide=decide)]

    @hookimpl
    def testlab_redactors():
        return [RedactionShape(name="rune", words=(b"rune-",), pattern=re.compile(rb"rune-(?P<secret>\\w+)"))]

    @hookimpl
    def testlab_sections(target, deployment):
        return [Section(name="sky", source="looked up", content=b"moon is full, rune-ansuz spoken")]
"""
FINISHED = """
    import json
    from pathlib import Path
    from pytest_testlab.hookspecs import hookimpl

    @hookimpl
    def testlab_run_finished(run, state, counts):
        Path("finished.json").write_text(json.dumps([run, state, counts]))
"""


def section(store: StoreHandle, test: str, name: str) -> bytes | None:
    with store.engine.connect() as connection:
        return attempts.section(connection, "latest", test, None, name)


def test_a_platform_and_its_sections(lab: LabSession, store: StoreHandle) -> None:
    """testlab_platforms: a platform is asked for by its name, and its sections are in every bundle."""
    lab.entry("alpha")
    lab.conftest(PLATFORM)
    assert lab.run("--testlab-platform", "shelf", pool=2).ret == 0
    assert section(store, "alpha/testlab.toml::check", "shelf") == b"third from the left"
    assert lab.latest().platform == "shelf"


@pytest.mark.parametrize(("changes", "lines"), [("True", "0\n1\n"), ("False", "0\n")])
def test_a_line_lasts_as_long_as_the_facts(lab: LabSession, changes: str, lines: str) -> None:
    """After a blanking that changed what is known of a server, a rollback for one, the old line is not used again."""
    lab.entry("alpha")
    lab.entry("beta")
    lab.conftest(LINES.replace("CHANGES", changes))
    assert lab.run(provider="switchboard").ret == 0
    assert (lab.pytester.path / "lines").read_text() == lines


def test_a_rule_a_shape_and_a_section(lab: LabSession, store: StoreHandle) -> None:
    """testlab_classifiers, testlab_redactors, testlab_sections: an infra rule makes a failure an error to pytest."""
    lab.entry("alpha", '[build]\ncommands = ["exit 3"]\n[run]\ncommand = "true"\n')
    lab.conftest(RULE.replace("\\\\\\\\w", "\\\\w"))
    result = lab.run()
    result.stdout.fnmatch_lines(["      infra: the moon is full", "*= 1 error, 1 * in *"])
    assert lab.statuses()["alpha::install"] == "error"
    text = section(store, "alpha/testlab.toml::install", "sky")
    assert text == b"moon is full, rune-[redacted] spoken"


def test_the_end_of_a_run(lab: LabSession) -> None:
    """testlab_run_finished: called once the run is closed in the store, with its counts."""
    lab.entry("alpha")
    lab.conftest(FINISHED)
    lab.run(pool=2)
    told = (lab.pytester.path / "finished.json").read_text()
    assert told == f'["{lab.latest().run}", "finished", {{"passed": 2}}]'


def test_a_broken_plugin_costs_no_other_section(lab: LabSession, store: StoreHandle) -> None:
    """What a plugin raises while sections are gathered is said in the bundle, and the rest is kept."""
    lab.entry("alpha")
    lab.conftest(
        """
        from pytest_testlab.hookspecs import hookimpl

        @hookimpl
        def testlab_sections(target, deployment):
            raise ValueError("no moon tonight")
        """
    )
    assert lab.run().ret == 0
    with store.engine.connect() as connection:
        found = attempts.attempt(connection, "latest", "alpha/testlab.toml::install")
    assert found is not None
    absent = {part.name: part.absent for part in found.sections}
    assert absent["plugins"] == (
        "a plugin's testlab_sections failed: ValueError: no moon tonight (conftest.py:5, in testlab_sections)"
    )
    assert absent["app"] is None


def test_a_blocked_test_has_a_bundle(lab: LabSession, store: StoreHandle) -> None:
    """It says why the test didn't run."""
    lab.entry("alpha", '[build]\ncommands = ["exit 3"]\n[run]\ncommand = "true"\n[[checks]]\ncommand = "true"\n')
    lab.run()
    text = section(store, "alpha/testlab.toml::check", "reason")
    assert text == b"blocked: install failed (build-failure)\n"


def test_credentials_reach_the_provider_and_nobody_else(
    lab: LabSession, monkeypatch: pytest.MonkeyPatch, store: StoreHandle
) -> None:
    """What lets a provider in leaves the environment; no worker has it, and whoever shows it shows a mask."""
    monkeypatch.setenv("CLOUD_KEY", KEY)
    lab.conftest(CLOUD)
    lab.entry("one")
    lab.entry("two", f'[app]\nname = "two"\n\n[run]\ncommand = "echo {KEY}"\n')
    done = lab.run(pool=2, provider="cloud")
    assert done.ret == 0
    seen = (lab.pytester.path / "seen").read_text().splitlines()
    assert seen == [f"{len(KEY)} None", "0 None", "0 None"]
    with store.engine.connect() as connection:
        said = attempts.transcript(connection, "latest")
    assert said is not None
    assert b"let in with " in said
    assert KEY.encode() not in done.stdout.str().encode() + said


def test_a_format_brings_entries(lab: LabSession, store: StoreHandle) -> None:
    """Files of another format are entries; one that is to be rejected passes if its deploy fails, and only then."""
    lab.conftest(FORMAT)
    for place, command in {"bad": "exit 1", "good": "true", "out": "true"}.items():
        (lab.pytester.path / place).mkdir()
        (lab.pytester.path / place / "app.slip").write_text(command)
    (lab.pytester.path / "out" / "KEEP_OUT").touch()
    result = lab.run("--testlab-platform", "memory", "-rA")
    result.assert_outcomes(passed=1, failed=1, skipped=2)
    result.stdout.fnmatch_lines_random(["*expected to be rejected, but it was deployed*"])
    reasons = {test: result.reason for test, result in lab.results().items()}
    assert reasons["bad/app.slip::install"] == "was rejected with deploy-failure, as expected"
    assert "out/app.slip::install" not in reasons
