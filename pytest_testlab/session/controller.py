"""What every session of the lab does in its main process: open the run, count results, close it, report."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_testlab.errors import TestlabError
from pytest_testlab.options import OPTIONS, Settings
from pytest_testlab.session.assemble import hooks_of
from pytest_testlab.session.run import Run
from pytest_testlab.session.terminal import Progress, summarize
from pytest_testlab.store.engine import password_of

EXIT_NOT_BLANK = 6
READY_WITHIN_S = 900.0
BAD = ("failed", "error", "blocked", "not_run")


class Controller:
    """A pytest plugin; `Local` and `Distributed` add how tests reach their targets."""

    run: Run
    progress: Progress

    def __init__(self, config: pytest.Config, settings: Settings, secrets: Mapping[str, str]) -> None:
        self.config = config
        self.settings = settings
        self.secrets = secrets
        self.opened: Run | None = None
        self.errors: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Open the run before anything is started or paid for."""
        _heed_sigterm()
        try:
            self.run = self.opened = self._open()
        except (TestlabError, OSError) as error:
            raise pytest.UsageError(str(error)) from None
        here = [left for left in self.run.recovered if left.state != "elsewhere"]
        self.errors += [line for left in here for line in left.lines()]
        self.progress = Progress(self.config, self.run)
        self.config.pluginmanager.register(self.progress, "testlab-progress")

    def _open(self) -> Run:
        hooks = hooks_of(self.config)
        return Run(self.settings, hooks, root=self.config.rootpath, known_secrets=self._known_secrets())

    def _known_secrets(self) -> frozenset[str]:
        """The lab's own and the entries', as far as this process was given them."""
        own = [getattr(self.settings, option.name) for option in OPTIONS if option.secret]
        return frozenset(filter(None, (*self.secrets.values(), *own, password_of(self.settings.db))))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what came of a test."""
        result: Mapping[str, Any] | None = getattr(report, "testlab", None)
        if result is not None:
            self.run.took(result)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Close the run, whatever happened, and settle the exit code."""
        if self.opened is None:
            return
        session.exitstatus = self._exit_code(int(exitstatus))
        self.errors += self.run.finish(int(session.exitstatus), self._state(int(session.exitstatus)))

    def _state(self, exitstatus: int) -> str:
        """A run that broke off is no night to hold others against."""
        if (
            self.run.aborted
            or self.run.unrecorded
            or exitstatus in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR)
        ):
            return "aborted"
        return "interrupted" if exitstatus == pytest.ExitCode.INTERRUPTED else "finished"

    def _exit_code(self, exitstatus: int) -> int:
        if self.run.aborted:
            return EXIT_NOT_BLANK
        if self.run.unrecorded and exitstatus == pytest.ExitCode.INTERRUPTED:
            return 1
        if exitstatus == 0 and any(self.run.counts.get(status) for status in BAD):
            return 1
        return exitstatus

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the summary."""
        if self.opened is None or not self.run.tests:
            return
        if self.config.option.verbose >= 0:
            summarize(self.run, terminalreporter)
        for error in self.errors:
            terminalreporter.write_line(f"testlab: {error}", red=True)

    def pytest_unconfigure(self) -> None:
        """Let go of the store, and of SIGTERM."""
        if signal.getsignal(signal.SIGTERM) is signal.default_int_handler:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self.opened is not None:
            opened, self.opened = self.opened, None
            try:
                opened.release()
            except TestlabError as error:
                sys.stderr.write(f"testlab: {error}\n")


def _heed_sigterm() -> None:
    """End as by Ctrl-C when the machine or a service manager says so, rather than leave servers to the reaper."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
