"""Sessions in which the catalog, the settings, the provider, a worker or the store is not as it should be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sessions import LabSession

from pytest_testlab.store.embedded import StoreHandle

NO_CAPACITY = """
    from pytest_testlab.errors import InfraError, NotBlankError
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.testing import MemoryProvider

    class Full(MemoryProvider):
        def create(self, request):
            if request.slot in {refused}:
                raise InfraError("no capacity")
            return super().create(request)

    @hookimpl
    def testlab_providers():
        return {{"full": lambda settings: Full()}}
"""


@pytest.mark.parametrize("pool", [1, 2])
def test_no_blank_target_is_exit_code_6(lab: LabSession, pool: int) -> None:
    """No blank slate, no run: it aborts loudly, and nothing is given out."""
    lab.entry("alpha")
    lab.conftest(NO_CAPACITY.format(refused=[0, 1]))
    result = lab.run(pool=pool, provider="full")
    assert result.ret == 6
    result.stdout.fnmatch_lines(["*no capacity*"])
    if pool == 1:  # pytest's own last line: neither an inner name nor the reason once more
        result.stdout.fnmatch_lines(["!*! Aborted: no proven blank target, exit code 6 !*!"])
    assert lab.latest().state == "aborted"
    assert lab.statuses() == {"alpha::install": "not_run", "alpha::check": "not_run"}


def test_a_target_that_does_not_come_up_costs_only_itself(lab: LabSession) -> None:
    """The other target runs everything."""
    for name in ("alpha", "beta", "gamma"):
        lab.entry(name)
    lab.conftest(NO_CAPACITY.format(refused=[1]))
    result = lab.run(pool=2, provider="full")
    assert result.ret == 0
    assert {result.slot for result in lab.results().values()} == {0}
    result.stdout.fnmatch_lines(["*out of the run: no capacity*"])


def test_a_broken_catalog_runs_nothing(lab: LabSession) -> None:
    """All the problems are shown, no target is asked for, the exit code is pytest's own for an interruption."""
    lab.entry("alpha")
    lab.entry("beta", "[run]\ncomand = 3\n")
    for pool in (1, 2):
        result = lab.run(pool=pool)
        assert result.ret == 2
        result.stdout.fnmatch_lines(['*beta/testlab.toml:*run.comand: unknown key*did you mean "command"?*'])
        result.stdout.no_fnmatch_line("*alpha · install*")
        assert (lab.latest().planned, lab.latest().state) == (0, "interrupted")
        assert lab.latest().say.startswith("beta/testlab.toml:4: run: neither command nor static is given")


@pytest.mark.parametrize("pool", [1, 2])
def test_a_run_without_tests_says_why(lab: LabSession, monkeypatch: pytest.MonkeyPatch, pool: int) -> None:
    """A module that can't be imported, or a mistake on the command line: one line, masked, in the run's record."""
    monkeypatch.setenv("TESTLAB_SECRET_ALPHA_ADMIN", "correct-horse-battery")
    lab.entry("alpha")
    assert lab.run("--testlab-follow", "alhpa", pool=pool).ret == 4
    assert lab.latest().say.startswith("--testlab-follow: no test of this run is called 'alhpa'")
    lab.module("test_broken.py", "import os\nraise OSError(os.environ.get('LAB_SAYS', '') + 'no such thing')")
    monkeypatch.setenv("LAB_SAYS", "correct-horse-battery: ")
    assert lab.run(pool=pool).ret == 2
    said = lab.latest().say
    assert said.startswith("test_broken.py: OSError: ")
    assert said.endswith(": no such thing")
    assert "correct-horse" not in said


@pytest.mark.parametrize("pool", [1, 2])
def test_a_missing_secret_is_a_usage_error(lab: LabSession, pool: int) -> None:
    """Said before anything runs, naming where it is looked for."""
    lab.entry("alpha", '[run]\ncommand = "true"\n[env]\nPASSWORD = { secret = "alpha-admin" }\n')
    result = lab.run(pool=pool)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*alpha-admin*TESTLAB_SECRET_ALPHA_ADMIN*"])


def test_secrets_reach_no_child_and_no_store(
    lab: LabSession, monkeypatch: pytest.MonkeyPatch, store: StoreHandle
) -> None:
    """Neither the store's address nor an entry's secret stands in a worker's environment, nor in any bundle."""
    monkeypatch.setenv("TESTLAB_SECRET_ALPHA_ADMIN", "correct-horse-battery")
    lab.entry("alpha", '[run]\ncommand = "true"\n[env]\nPASSWORD = { secret = "alpha-admin" }\n')
    lab.conftest(
        """
        import os
        from pytest_testlab.hookspecs import hookimpl
        from pytest_testlab.model import Section

        @hookimpl
        def testlab_sections(target, deployment):
            text = "\\n".join(f"{key}={value}" for key, value in os.environ.items())
            told = "" if deployment is None else deployment.env["PASSWORD"]
            return [Section(name="environment", source="os.environ", content=f"{text}\\ntold {told}".encode())]
        """
    )
    assert lab.run(pool=2).ret == 0
    from pytest_testlab.store.reads import attempts

    with store.engine.connect() as connection:
        text = attempts.section(connection, "latest", "alpha/testlab.toml::install", 1, "environment")
    assert text is not None
    assert b"PATH=" in text
    assert b"TESTLAB_DATABASE_URL" not in text
    assert b"correct-horse-battery" not in text
    assert b"told [redacted]" in text


@pytest.mark.parametrize("pool", [1, 2])
def test_the_budget(lab: LabSession, pool: int) -> None:
    """After the budget nothing more is given out; the rest was not run, which is no success."""
    for name in ("alpha", "beta", "gamma"):
        lab.entry(name, '[run]\ncommand = "sleep 1.2"\n')
    result = lab.run("--testlab-budget", "1s", pool=pool)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*the budget is spent*", "*not run*"])


def test_a_store_out_of_reach_is_one_line(lab: LabSession) -> None:
    """Said before anything runs, exit code 4."""
    lab.entry("alpha")
    result = lab.run("--testlab-db", "postgresql://nobody@127.0.0.1:1/none")
    assert result.ret == 4
    result.stderr.no_fnmatch_line("*Traceback*")
    assert "127.0.0.1" in result.stderr.str()


def test_unknown_names_get_the_nearest(lab: LabSession) -> None:
    """A provider or platform that nobody offers."""
    result = lab.run(provider="memori")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: no provider is called 'memori'; did you mean memory?"])


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("wrong", ["nowhere", "alpha/testlab.toml::nothing"])
def test_what_is_not_there_is_a_usage_error(lab: LabSession, pool: int, wrong: str) -> None:
    """A path or a test that doesn't exist is named in one line, with one target and with several."""
    lab.entry("alpha")
    result = lab.run(wrong, pool=pool)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR:*not found: *{wrong}*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


@pytest.mark.parametrize("pool", [1, 2])
def test_workers_of_somebody_else_are_refused(lab: LabSession, pool: int) -> None:
    """-n is a usage error with any number of targets, and -n 0 takes back what an ini file asks for."""
    lab.entry("alpha")
    result = lab.run("-n", "2", pool=pool)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: -n and --tx don't go with --testlab-pool*"])
    assert lab.run("-n", "2", "-n", "0", pool=pool).ret == 0


@pytest.mark.parametrize("pool", [1, 2])
def test_without_a_terminal(lab: LabSession, pool: int) -> None:
    """Everything runs and is kept where pytest's terminal is turned off."""
    lab.entry("alpha")
    assert lab.run("-p", "no:terminal", pool=pool).ret == 0
    assert lab.statuses() == {"alpha::install": "passed", "alpha::check": "passed"}


@pytest.mark.parametrize("pool", [1, 2])
def test_an_app_that_can_not_be_removed_is_said_in_a_line(lab: LabSession, pool: int) -> None:
    """It is an error beside what the tests had found, without a traceback of the lab's own."""
    lab.entry("alpha")
    lab.conftest(
        """
        from pytest_testlab.errors import InfraError
        from pytest_testlab.hookspecs import hookimpl
        from pytest_testlab.testing import MemoryPlatform

        class Sticky(MemoryPlatform):
            def destroy(self, target, deployment):
                raise InfraError("it sticks")

        @hookimpl
        def testlab_platforms():
            return {"sticky": lambda settings: Sticky()}
        """
    )
    result = lab.run("--testlab-platform", "sticky", pool=pool)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["InfraError: it sticks"])
    result.stdout.no_fnmatch_line("*raise InfraError*")


BROKEN_PLATFORM = """
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.testing import MemoryPlatform

    class Broken(MemoryPlatform):
        name = "broken"

        def {method}(self, target, *more):
            raise RuntimeError("a bug of its own")

    @hookimpl
    def testlab_platforms():
        return {{"broken": lambda settings: Broken()}}
"""


@pytest.mark.parametrize("pool", [1, 2])
def test_a_platform_that_can_not_be_installed_costs_its_targets(lab: LabSession, pool: int) -> None:
    """A plugin's own error means that there is no target, with its words, and is no error inside the lab."""
    lab.entry("alpha")
    lab.conftest(BROKEN_PLATFORM.format(method="install"))
    result = lab.run("--testlab-platform", "broken", pool=pool)
    assert result.ret == 6
    result.stdout.fnmatch_lines(["*platform broken failed: RuntimeError: a bug of its own*"])


@pytest.mark.parametrize("method", ["sections", "probe"])
def test_a_platform_that_can_not_be_asked_costs_no_outcome(lab: LabSession, method: str) -> None:
    """The outcome is kept, with a bundle that says what is missing."""
    lab.entry("alpha")
    lab.conftest(BROKEN_PLATFORM.format(method=method))
    assert lab.run("--testlab-platform", "broken").ret == 0
    assert lab.statuses() == {"alpha::install": "passed", "alpha::check": "passed"}


def test_a_worker_that_dies_before_it_has_told_its_tests(lab: LabSession) -> None:
    """Its successor is asked in its place: the session goes on."""
    lab.entry("alpha")
    lab.conftest(
        """
        import os
        from pathlib import Path
        from pytest_testlab.distribution.worker import WorkerLoop

        original = WorkerLoop._describe

        def describe(self):
            if not Path("died").exists():
                Path("died").touch()
                os._exit(1)
            original(self)

        WorkerLoop._describe = describe
        """
    )
    assert lab.run(pool=2).ret == 0
    assert lab.statuses() == {"alpha::install": "passed", "alpha::check": "passed"}


@pytest.mark.parametrize("pool", [1, 2])
def test_a_run_that_broke_off_is_aborted(lab: LabSession, pool: int) -> None:
    """An internal error is no finished run, so that later ones aren't held against it."""
    lab.entry("alpha")
    lab.conftest("def pytest_runtest_logstart(nodeid): raise RuntimeError('broken conftest')")
    assert lab.run(pool=pool).ret == 3
    assert lab.latest().state == "aborted"


@pytest.mark.parametrize("pool", [1, 2])
def test_sigterm_ends_a_run_in_order(lab: LabSession, pool: int) -> None:
    """It is as good as Ctrl-C: the run is closed as interrupted, and exit code 2 says so."""
    lab.entry("alpha")
    lab.conftest(
        """
        import os, signal

        def pytest_runtest_logstart(nodeid):
            if not os.environ.get("PYTEST_XDIST_WORKER") and nodeid.endswith("install"):
                os.kill(os.getpid(), signal.SIGTERM)
        """
    )
    assert lab.run(pool=pool).ret == 2
    assert lab.latest().state == "interrupted"


def test_testlab_run_is_the_same_session(lab: LabSession) -> None:
    """Also where every warning is an error."""
    lab.pytester.makeini("[pytest]\nfilterwarnings = error\n")
    lab.entry("alpha")
    command = Path(sys.executable).with_name("testlab")
    assert lab.pytester.run(command, "run", "--testlab-provider", "memory").ret == 0
    assert lab.statuses() == {"alpha::install": "passed", "alpha::check": "passed"}


def test_collecting_writes_nothing(lab: LabSession) -> None:
    """--co leaves no run."""
    lab.entry("alpha")
    lab.run("--co")
    assert lab.count() == 0
