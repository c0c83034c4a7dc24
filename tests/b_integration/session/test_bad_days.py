"""Sessions in which a target, a worker or the person at the terminal ends something in the middle of a test."""

from __future__ import annotations

import os
import signal
import time
from xml.etree import ElementTree

import pytest
from sessions import LabSession

from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.reads.runs import list_runs

INSTALL, CHECK = "alpha/testlab.toml::install", "alpha/testlab.toml::check"
SHAKY = """
    from pathlib import Path
    from pytest_testlab.errors import InfraError
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.testing import MemoryPlatform

    class Shaky(MemoryPlatform):
        name = "shaky"

        def deploy(self, target, deployment, observe):
            log = Path("deploys")
            times = log.read_text().split() if log.exists() else []
            if "alpha" in deployment.app.name:
                log.write_text(" ".join([*times, target.server.name]))
            if "alpha" in deployment.app.name and len(times) < {times}:
                raise InfraError("the line broke")
            super().deploy(target, deployment, observe)

    @hookimpl
    def testlab_platforms():
        return {{"shaky": lambda settings: Shaky()}}
"""
DEADLY = """
    import ctypes, os, signal, time
    from pathlib import Path
    import pytest

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(item):
        deaths = Path(item.config.rootpath, "deaths")
        died = len(deaths.read_text()) if deaths.exists() else 0
        if item.nodeid == "alpha/testlab.toml::{stage}" and died < {times}:
            deaths.write_text("x" * (died + 1))
            {how}
        return (yield)
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
SLEEPER = '[run]\ncommand = "sleep 30"\n'


@pytest.mark.parametrize("pool", [1, 2])
def test_an_infrastructure_fault_gets_one_more_try_elsewhere(lab: LabSession, pool: int) -> None:
    """Both attempts are kept, each with its bundle; the second one's outcome holds, shown as a pass with its rerun."""
    lab.entry("alpha")
    lab.entry("beta")
    lab.conftest(SHAKY.format(times=1))
    result = lab.run("--testlab-platform", "shaky", "--junitxml", "out.xml", pool=pool)
    assert result.ret == 0
    assert lab.statuses() == {
        "alpha::install": "flaky",
        "alpha::check": "passed",
        "beta::install": "passed",
        "beta::check": "passed",
    }
    first, second = lab.attempt(INSTALL, 1), lab.attempt(INSTALL, 2)
    assert (first.result.status, first.result.failure_class) == ("error", "infra")
    assert "the line broke" in first.result.headline[0]
    assert first.sections
    assert second.retry_of == 1
    assert second.sections
    result.stdout.fnmatch_lines(["*to be tried again; infra: *the line broke*", "*passed on attempt 2*", "*1 flaky*"])
    suite = ElementTree.parse(lab.pytester.path / "out.xml").getroot()[0]  # noqa: S314 - pytest wrote it
    assert (suite.get("errors"), suite.get("failures")) == ("0", "0")
    targets = (lab.pytester.path / "deploys").read_text().split()
    assert len(set(targets)) == pool, "with several targets the second try is made on another one"


@pytest.mark.parametrize("pool", [1, 2])
def test_an_infrastructure_fault_on_both_tries_is_an_error(lab: LabSession, pool: int) -> None:
    """There is no third try; what follows in the unit is blocked, and other units run as ever."""
    lab.entry("alpha")
    lab.entry("beta")
    lab.conftest(SHAKY.format(times=99))
    result = lab.run("--testlab-platform", "shaky", pool=pool)
    assert result.ret == 1
    assert lab.statuses() == {
        "alpha::install": "error",
        "alpha::check": "blocked",
        "beta::install": "passed",
        "beta::check": "passed",
    }
    assert lab.results()[INSTALL].attempt == 2
    result.stdout.fnmatch_lines(["*1 infrastructure error*1 blocked*"])


@pytest.mark.parametrize("stage", ["install", "check"])
def test_a_worker_that_dies_is_an_error_and_its_test_is_tried_again(lab: LabSession, stage: str) -> None:
    """A dead worker is the lab's fault: an error with what its target still shows, and one more try elsewhere."""
    lab.entry("alpha")
    lab.entry("beta")
    lab.conftest(DEADLY.format(stage=stage, times=1, how=KILL))
    result = lab.run(pool=2)
    assert result.ret == 0
    assert {**lab.statuses(), f"alpha::{stage}": "passed"} == {
        f"{name}::{stage}": "passed" for name in ("alpha", "beta") for stage in ("install", "check")
    }
    test = f"alpha/testlab.toml::{stage}"
    first, second = lab.attempt(test, 1), lab.attempt(test, 2)
    assert (first.result.status, first.result.failure_class) == ("error", "infra")
    assert first.result.headline[0] == "infra: the worker that ran it died: killed by SIGKILL"
    assert second.result.status == "flaky"
    assert second.result.slot != first.result.slot
    assert b"the worker that ran it died" in (lab.section(test, 1, "lab") or b"")
    assert {section.name for section in first.sections} >= {"lab", "app", "console", "journald"}
    result.stdout.fnmatch_lines(["*to be tried again; infra: the worker that ran it died*"])


def test_a_worker_that_alone_is_told_to_stop_costs_its_target_only(lab: LabSession) -> None:
    """A machine short of memory sends SIGTERM to one process: its test keeps its bundle and is tried elsewhere."""
    for name in ("alpha", "beta", "gamma"):
        lab.entry(name, '[run]\ncommand = "sleep 1"\n')
    lab.conftest(
        """
        import os, signal
        from pathlib import Path
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(item):
            told = Path(item.config.rootpath, "told")
            if item.nodeid == "alpha/testlab.toml::install" and not told.exists():
                told.touch()
                os.kill(os.getpid(), signal.SIGTERM)
            return (yield)
        """
    )
    result = lab.run(pool=2)
    assert result.ret == 0
    assert lab.latest().state == "finished"
    assert (lab.attempt(INSTALL, 1).reason or "").startswith("interrupted after")
    assert lab.results()[INSTALL].status == "flaky"
    assert lab.statuses()["gamma::install"] == "passed"
    result.stdout.fnmatch_lines(["*out of the run: its worker was told to stop by a signal*"])


def test_a_test_that_kills_its_worker_twice_is_an_error(lab: LabSession) -> None:
    """It isn't given out a third time, and what depends on it is blocked."""
    lab.entry("alpha")
    lab.entry("beta")
    lab.conftest(DEADLY.format(stage="install", times=9, how=KILL))
    result = lab.run(pool=2)
    assert result.ret == 1
    assert lab.statuses()["alpha::install"] == "error"
    assert lab.statuses()["alpha::check"] == "blocked"
    assert lab.statuses()["beta::check"] == "passed"
    assert (lab.pytester.path / "deaths").read_text() == "xx"


def test_what_is_on_disk_is_not_run_again(lab: LabSession) -> None:
    """A worker that is killed between the journal and its report has had its say."""
    lab.entry("alpha")
    lab.entry("beta")
    lab.conftest(
        """
        import os, signal
        from pathlib import Path
        from pytest_testlab.recording.journal import Journal

        append = Journal.append

        def append_and_die(self, event, *more, **options):
            append(self, event, *more, **options)
            if event["kind"] == "finished" and "alpha" in event["test"] and not Path("died").exists():
                Path("died").touch()
                os.kill(os.getpid(), signal.SIGKILL)

        Journal.append = append_and_die
        """
    )
    result = lab.run(pool=2)
    assert result.ret == 0
    assert set(lab.statuses().values()) == {"passed"}
    assert {result.attempt for result in lab.results().values()} == {1}
    result.stdout.fnmatch_lines(["*4 passed*"])


HUNG = {
    "stopped": ("os.kill(os.getpid(), signal.SIGSTOP)", "SILENT_S = 10", "its process was stopped"),
    "stuck": ("\n            while True: ctypes.PyDLL(None).sleep(9)", "SILENT_S = 10", "said nothing for"),
    "busy": ("\n            while True: time.sleep(0.01)", "GRACE_S = -597", "did not end within"),
}


@pytest.mark.parametrize("how", HUNG)
def test_a_worker_that_hangs_is_killed_and_its_test_is_tried_again(lab: LabSession, how: str) -> None:
    """Whether it says nothing any more, or its test doesn't end; where it hung is in the bundle."""
    does, setting, say = HUNG[how]
    for name in ("alpha", "beta"):
        lab.entry(name)
    # The real limits are a night's, far beyond a test's patience.
    shorter = f"\n    from pytest_testlab.distribution import watchdog\n    watchdog.{setting}\n"
    shorter += "    from pytest_testlab.distribution import worker\n    worker.GRACE_S = watchdog.GRACE_S\n"
    lab.conftest(DEADLY.format(stage="install", times=1, how=does) + shorter)
    assert lab.run(pool=2).ret == 0
    first = lab.attempt(INSTALL, 1)
    assert first.result.status == "error"
    assert say in first.result.headline[0]
    assert (b"pytest_runtest_call" in (lab.section(INSTALL, 1, "lab") or b"")) == (how != "stopped")
    assert lab.results()[INSTALL].status == "flaky"
    assert lab.statuses()["beta::check"] == "passed"


CAREFUL = """
    import time
    from pathlib import Path
    from pytest_testlab.hookspecs import hookimpl
    from pytest_testlab.testing import MemoryPlatform

    class Careful(MemoryPlatform):
        name = "careful"

        def deploy(self, target, deployment, observe):
            if deployment.app.name == "sleeper":
                Path("asleep").touch()
            super().deploy(target, deployment, observe)

        def sections(self, target, deployment):
            if deployment.app.name == "sleeper":
                time.sleep({collecting_s})
            return super().sections(target, deployment)

        def destroy(self, target, deployment):
            Path("removed-" + deployment.app.name).touch()

    @hookimpl
    def testlab_platforms():
        return {{"careful": lambda settings: Careful()}}

    def pytest_runtest_logreport(report):
        if report.nodeid.startswith("quick") and report.nodeid.endswith("check") and report.when == "teardown":
            Path("quick-done").touch()
"""


def _interrupt(lab: LabSession, pool: int, *numbers: signal.Signals, collecting_s: float = 0) -> tuple[int, str]:
    """Run a quick entry and one that sleeps; send the signals to the whole group while it does, as a terminal would."""
    lab.entry("quick")
    lab.entry("sleeper", SLEEPER)
    lab.conftest(CAREFUL.format(collecting_s=collecting_s))
    process = lab.start("--testlab-platform", "careful", "quick", "sleeper", pool=pool)
    lab.wait_for("quick-done", process)
    lab.wait_for("asleep", process)
    for number in numbers:
        os.killpg(process.pid, number)
        time.sleep(0.5)
    output, _ = process.communicate(timeout=150)
    return process.returncode, output


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_once_it_ends_in_order(lab: LabSession, pool: int, number: signal.Signals) -> None:
    """What runs gets its bundle and its app is removed; the summary and the store say the same."""
    code, output = _interrupt(lab, pool, number)
    assert code == 2, output
    assert output.count("testlab: stopping") == 1
    assert lab.latest().state == "interrupted"
    assert lab.statuses() == {
        "quick::install": "passed",
        "quick::check": "passed",
        "sleeper::install": "not_run",
        "sleeper::check": "not_run",
    }
    cut = lab.attempt("sleeper/testlab.toml::install", 1)
    assert (cut.reason or "").startswith("interrupted after")
    assert {section.name for section in cut.sections} >= {"app", "reason"}
    assert (lab.pytester.path / "removed-sleeper").exists()
    assert "2 passed" in output
    assert "2 not run" in output
    assert "Traceback" not in output, output


def test_asked_to_stop_what_can_not_be_removed_is_said_in_a_line(lab: LabSession) -> None:
    """There is no test left that could report it, and it is no error inside the lab."""
    lab.entry("sleeper", SLEEPER)
    sticky = "raise InfraError('it sticks')"
    text = CAREFUL.format(collecting_s=0).replace('Path("removed-" + deployment.app.name).touch()', sticky)
    lab.conftest("    from pytest_testlab.errors import InfraError\n" + text)
    process = lab.start("--testlab-platform", "careful", "sleeper", pool=2)
    lab.wait_for("asleep", process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=150)
    assert process.returncode == 2, output
    assert "testlab: it sticks" in output
    assert "INTERNALERROR" not in output
    assert lab.latest().state == "interrupted"


@pytest.mark.parametrize("pool", [1, 2])
def test_asked_to_stop_while_it_is_being_started(lab: LabSession, pool: int) -> None:
    """Pytest tells nobody of the end of a session that had not quite begun; the run is closed all the same."""
    lab.entry("alpha")
    lab.conftest(
        """
        import os, signal

        def pytest_sessionstart(session):
            if not hasattr(session.config, "workerinput"):
                os.kill(os.getpid(), signal.SIGTERM)
        """
    )
    assert lab.run(pool=pool).ret == 2
    assert lab.latest().state == "interrupted"


@pytest.mark.parametrize("pool", [1, 2])
def test_asked_twice_it_stops_at_once_and_the_next_start_finishes(
    lab: LabSession, pool: int, store: StoreHandle
) -> None:
    """Nothing that was finished is lost; the next start closes the run that was left."""
    code, output = _interrupt(lab, pool, signal.SIGINT, signal.SIGINT, collecting_s=60)
    assert code == 2, output
    assert "stopped at once" in output
    assert lab.run("quick").ret == 0
    with store.engine.connect() as connection:
        runs = list_runs(connection)
    assert [run.state for run in runs[:2]] == ["finished", "aborted"]
    assert (runs[1].counts["passed"], runs[1].counts["not_run"]) == (2, 2)


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_stopping_at_the_first_failure(lab: LabSession, pool: int, option: str) -> None:
    """The exit code is that of failures with any number of targets, and the run is no whole one."""
    lab.entry("alpha", '[run]\ncommand = "true"\n[build]\ncommands = ["false"]\n')
    for name in ("beta", "gamma", "delta"):
        lab.entry(name, '[run]\ncommand = "sleep 0.7"\n')
    result = lab.run(option, pool=pool)
    assert result.ret == 1
    run = lab.latest()
    assert run.state == "interrupted"
    statuses = lab.statuses()
    assert statuses["alpha::install"] == "failed"
    assert statuses["delta::install"] == "not_run"
    for status in ("failed", "passed", "not_run"):
        count = list(statuses.values()).count(status)
        word = status.replace("_", " ")
        assert (f"{count} {word}" in result.stdout.str()) == bool(count)


STRUCK = """
    import contextlib, os, signal
    from pathlib import Path
    import psutil
    import pytest
    from pytest_testlab.catalog.items import LAB

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(item):
        struck = Path(item.config.rootpath, "struck")
        if item.nodeid == "alpha/testlab.toml::check" and not struck.exists():
            port = item.config.stash[LAB].target.server.ssh.port
            for process in psutil.process_iter(["cmdline"]):
                if "testlab_local.guard" in (process.info["cmdline"] or ()):
                    # The SSH server is the guard's child; both hold the socket.
                    with contextlib.suppress(psutil.Error):  # somebody else's
                        ports = [line.laddr.port for line in process.net_connections() if line.status == "LISTEN"]
                        if port in ports and "testlab_local.guard" in process.parent().cmdline():
                            struck.touch()
                            os.kill(process.pid, signal.{signal})
        return (yield)
"""


@pytest.mark.parametrize("number", ["SIGKILL", "SIGSTOP"])
def test_a_target_that_dies_or_answers_no_more(lab: LabSession, number: str) -> None:
    """It costs its test one try: an error with what could be had; the second try is made on another target."""
    folder = lab.entry(
        "alpha",
        '[run]\nstatic = "site"\n\n[[checks]]\ncommand = "sleep 1"\n\n[[checks]]\nhttp = "/"\ncontains = "hello"\n',
    )
    (folder / "site").mkdir()
    (folder / "site" / "index.html").write_text("hello\n")
    lab.entry("beta", '[run]\nstatic = "site"\n').joinpath("site").mkdir()
    (lab.pytester.path / "beta" / "site" / "index.html").write_text("hello\n")
    lab.conftest(STRUCK.format(signal=number))
    result = lab.run(pool=2, provider="local")
    assert result.ret == 0
    assert (lab.pytester.path / "struck").exists()
    first, second = lab.attempt(CHECK, 1), lab.attempt(CHECK, 2)
    assert (first.result.status, first.result.failure_class) == ("error", "infra")
    missing = {section.name: section.absent for section in first.sections if section.absent}
    assert "the line to the target was lost" in missing["nginx-error"]
    assert second.result.status == "flaky"
    assert second.result.slot != first.result.slot
    assert lab.statuses()["beta::install"] == "passed"
