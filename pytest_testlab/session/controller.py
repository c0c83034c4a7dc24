"""What every session of the lab does in its main process: open the run, count results, close it, report."""

from __future__ import annotations

import abc
import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import pluggy
import pytest

from pytest_testlab.catalog.interrupts import Interrupts
from pytest_testlab.distribution import private
from pytest_testlab.errors import TestlabError
from pytest_testlab.options import OPTIONS, Settings
from pytest_testlab.session.assemble import hidden_values
from pytest_testlab.session.run import Run
from pytest_testlab.session.show.board import Board
from pytest_testlab.session.show.progress import Progress
from pytest_testlab.session.show.summary import sign_off, summarize, tell_kept
from pytest_testlab.store.engine import password_of

EXIT_NOT_BLANK = 6
READY_WITHIN_S = 900.0
STOPPING = b"\ntestlab: stopping: what runs gets its bundle, and servers are given back; once more stops at once\n"
STOPPED = b"\ntestlab: stopped at once; `testlab recover` brings in what was recorded, and so does the next start\n"
MOST_SAID = 400
"""Characters of why nothing was run."""
BAD = ("failed", "error", "blocked", "not_run")


class Controller(abc.ABC):
    """A pytest plugin; `Local` and `Distributed` add how tests reach their targets."""

    run: Run
    board: Board
    progress: Progress

    def __init__(
        self, config: pytest.Config, settings: Settings, secrets: Mapping[str, str], hooks: pluggy.PluginManager
    ) -> None:
        self.config = config
        self.hooks = hooks
        self.settings = settings
        self.secrets = secrets
        self.opened: Run | None = None
        self.finished = False
        self.errors: list[str] = []
        self.broken = ""
        """What is wrong with the catalog first."""
        self.interrupts = Interrupts(on_first=self._say_stopping, on_again=self._stop_at_once)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Open the run before anything is started or paid for."""
        if not getattr(self.config.option, "usepdb", False):  # a debugger needs Ctrl-C for itself
            self.interrupts.heed()
        try:
            self.run = self.opened = self._open()
        except (TestlabError, OSError) as error:
            raise pytest.UsageError(str(error)) from None
        here = [left for left in self.run.recovered if left.state != "elsewhere"]
        self.errors += [line for left in here for line in left.lines()]
        self.board = Board(self.run)
        self.progress = Progress(self.config, self.run, self.board)
        self.config.pluginmanager.register(self.progress, "testlab-progress")

    def _open(self) -> Run:
        return Run(self.settings, self.hooks, root=self.config.rootpath, known_secrets=self._known_secrets())

    def _known_secrets(self) -> frozenset[str]:
        """The lab's own and the entries', as far as this process was given them."""
        own = [getattr(self.settings, option.name) for option in OPTIONS if option.secret]
        given = (*self.secrets.values(), *hidden_values(self.settings))
        return frozenset(filter(None, (*given, *own, password_of(self.settings.db))))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember that the catalog is broken: nothing runs then, unless the user insists."""
        if report.failed:
            self.broken = self.broken or _first_error(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what came of a test."""
        result: Mapping[str, Any] | None = getattr(report, "testlab", None)
        if result is not None:
            self.run.took(result)
            if result["status"] == "failed" and result["slot"] is not None:
                self.run.pool.failed(self.run.pool.slots[result["slot"]], result["test"])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Close the run, whatever happened, and settle the exit code."""
        if self.opened is None:
            return
        self.interrupts.hold()
        state, code = self._outcome(int(exitstatus), broke_off=self._broke_off(session))
        session.exitstatus = code
        self._finish(state, code)

    def _finish(self, state: str, code: int) -> None:
        self.finished = True
        if not self.run.tests:
            why = " ".join(self._why_nothing_ran(code).split())
            self.run.say = self.run.mask(why)[:MOST_SAID] if why else self.run.say
        try:
            self.errors += self.run.finish(code, state)
        finally:
            self.progress.given_back()

    def _why_nothing_ran(self, code: int) -> str:
        """What ended the session before it had a plan; pytest is still raising a mistake of the user's by then."""
        error = sys.exception()
        if isinstance(error, pytest.UsageError):
            return str(error)
        return self.broken or ("no test was selected" if code == pytest.ExitCode.NO_TESTS_COLLECTED else "")

    def _outcome(self, exitstatus: int, *, broke_off: bool) -> tuple[str, int]:
        """(state of the run, exit code). A run that broke off is no night to hold others against."""
        if self.run.aborted:
            return "aborted", EXIT_NOT_BLANK
        if exitstatus in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
            return "aborted", exitstatus
        if self.run.unrecorded:
            return "aborted", exitstatus if exitstatus != pytest.ExitCode.INTERRUPTED else 1
        if self.interrupts.asked:
            return "interrupted", int(pytest.ExitCode.INTERRUPTED)
        if broke_off:  # -x: xdist would say 2, and pytest itself says 1
            self.run.say = self.run.say or "stopped early, as -x or --maxfail asks"
            return "interrupted", 1
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            return "interrupted", exitstatus
        bad = any(self.run.counts.get(status) for status in BAD)
        return "finished", 1 if bad and exitstatus == 0 else exitstatus

    @abc.abstractmethod
    def _broke_off(self, session: pytest.Session) -> bool:
        """Whether the session ended before its last test because enough had failed."""

    def _say_stopping(self) -> None:
        if self.opened is None or not self.progress.say_in_handler(STOPPING.decode().strip()):
            self._say_in_handler(STOPPING)

    def _say_in_handler(self, line: bytes) -> None:
        """Straight to standard error: in a signal handler nobody may wait for a lock of its writer's."""
        with contextlib.suppress(OSError):
            os.write(private.stderr(self.config), line)

    @abc.abstractmethod
    def _kill_workers(self) -> None:
        """End other processes of this session at once; called in a signal handler."""

    def _stop_at_once(self) -> None:
        """Somebody insists: end as if killed, which loses nothing; only in the signal handler."""
        self._kill_workers()
        if self.opened is not None:
            self.progress.erase_in_handler()
        self._say_in_handler(STOPPED)
        os._exit(int(pytest.ExitCode.INTERRUPTED))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the summary."""
        if self.opened is None or not self.run.tests:
            return
        if self.config.option.verbose >= 0:
            summarize(self.run, terminalreporter)
        elif self.config.option.verbose == -1:
            sign_off(self.run, terminalreporter)
        tell_kept(self.run, terminalreporter)
        for error in self.errors:
            terminalreporter.write_line(f"testlab: {error}", red=True)

    def pytest_unconfigure(self) -> None:
        """Let go of the store, and of the signals."""
        if self.opened is not None and not self.finished:
            # Stopped while the session was still being started: pytest tells nobody then that it finished.
            self.interrupts.hold()
            ended = pytest.ExitCode.INTERRUPTED if self.interrupts.asked else pytest.ExitCode.USAGE_ERROR
            self._finish(*self._outcome(int(ended), broke_off=False))
        self.interrupts.ignore()
        if self.opened is not None:
            opened, self.opened = self.opened, None
            try:
                opened.release()
            except TestlabError as error:
                sys.stderr.write(f"testlab: {error}\n")


def _first_error(report: pytest.CollectReport) -> str:
    """Where a catalog is broken, and the line that says how: of a traceback the one that pytest marks as the error."""
    lines = [line for line in report.longreprtext.splitlines() if line.strip()] or ["it can't be collected"]
    line = next((line[1:] for line in lines if line.startswith("E ")), lines[0]).strip()
    return line if report.nodeid in line else f"{report.nodeid}: {line}"
