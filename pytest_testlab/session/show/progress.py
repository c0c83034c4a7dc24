"""What is shown while a run goes on: the block of a terminal, failures the moment they come, and lines elsewhere.

============  ===========================  ====================================
verbosity     a terminal                   a pipe, a file, CI
============  ===========================  ====================================
-q            failures                     failures
(none)        the block; what didn't pass  a line a test, targets, now and then what runs
-v            and a line a test            and the target of each
-vv           and its phases               and its phases
============  ===========================  ====================================
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from pytest_testlab.catalog.items import RERUN
from pytest_testlab.distribution import private
from pytest_testlab.pool.pool import SlotState
from pytest_testlab.session.show.board import Board
from pytest_testlab.session.show.panel import ending, panel
from pytest_testlab.session.show.screen import ERASE, Guard, Screen, Ticker
from pytest_testlab.session.show.style import STATUS, Style, columns, fit, human, pad, uncoloured

if TYPE_CHECKING:
    from pytest_testlab.session.run import Run

NAME_WIDTH = 32
"""Columns of a test's name where there are a hundred or fewer; from there on two fifths of what there is."""
WIDE = 100
PAUSE = signal.SIGTSTP
WHERE_TO_LOOK = "look at: "
"""How the line of a headline begins that says what to do next."""
PYTESTS_SUMMARY = "fE"
"""What pytest lists at the end unless told otherwise; the lab's own summary says it better."""
BAD = ("failed", "error")
WORTH_A_LINE = (*BAD, "flaky", "blocked")
"""On a terminal; what passed is counted in the bar."""
PLAIN_TICK_S = 1.0
PROGRESS_EVERY_S = 30.0
"""How often a log is told what runs."""
WONDERS_S, PLAIN_WONDERS_S = 0.5, 3.0
"""After how long without a word somebody at a terminal wonders what goes on, and a log's reader."""
MANY_TARGETS = 8
"""With more, a log isn't told of each that is ready."""
SHOWN_RUNNING = 3


class Progress:
    """A plugin of the main process's session."""

    def __init__(self, config: pytest.Config, run: Run, board: Board) -> None:
        self._run = run
        self._board = board
        self._verbose: int = getattr(config.option, "verbose", 0)
        """Not there under `-p no:terminal`."""
        self._reporter: Any = config.pluginmanager.getplugin("terminalreporter")
        self._style = Style.of(getattr(self._reporter, "_tw", None))
        self._live = _can_be_live(config, self._reporter) and self._verbose >= 0
        self._away = False
        """Whether the store was away when it was last spoken of."""
        self._over = False
        """Whether no test runs any more; then pytest may list results in a summary that `-r` asks for."""
        self._screen: Screen | None = None
        self._guard: Guard | None = None
        self._heeds_pauses = False
        self._ticker = Ticker(self._draw) if self._live else Ticker(self._log, PLAIN_TICK_S)
        self._urgent: deque[str] = deque()
        """Lines that a signal handler leaves for the ticker, because it may not wait for a lock."""
        self._told_of: set[tuple[int, str]] = set()
        self._telling = threading.Lock()
        self._giving_back: threading.Timer | None = None
        self._log_at = time.monotonic() + PROGRESS_EVERY_S
        self._named_of, self._named = 0, NAME_WIDTH
        """Of how many tests `_longest` was found, and what."""
        if self._reporter is not None:
            private.only_our_lines(self._reporter)
            if self._live:
                private.no_status_of_workers(config)
            if config.option.reportchars == PYTESTS_SUMMARY:
                self._reporter.reportchars = self._reporter.reportchars.translate(dict.fromkeys(map(ord, "fE")))

    @property
    def looks_every_s(self) -> float | None:
        """How often workers are to say what they do; None = nobody looks."""
        if self._reporter is None or self._verbose < 0:
            return None
        return 0.5 if self._live else 10.0

    # --- pytest's hooks -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count by the lab's own words, and print nothing while tests run: `_line` does.

        What a test's own code raised is for pytest to show at the end.
        """
        result = getattr(report, "testlab", None)
        if result is None:
            return None
        if not getattr(report, "testlab_traceback", False):
            private.not_again_at_the_end(report)
        status = RERUN if result["again"] else result["status"]
        return status, "", status.upper() if self._over else ""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Show what runs for as long as tests run."""
        self._begin()
        try:
            return (yield)
        finally:
            self._over = True
            self.end()
            self._wait_for_servers()

    def _wait_for_servers(self) -> None:
        """Say that servers are given back, if that takes so long that somebody may wonder."""
        count = self._run.to_give_back
        if self._reporter is not None and self._verbose >= 0 and count:
            say = f"  giving {count} server{'s' if count != 1 else ''} back"
            self._giving_back = threading.Timer(WONDERS_S if self._live else PLAIN_WONDERS_S, self._say_now, [say])
            self._giving_back.daemon = True
            self._giving_back.start()

    def _say_now(self, say: str) -> None:
        self._reporter.ensure_newline()
        self._reporter.line(say, light=True)
        self._reporter.flush()

    def given_back(self) -> None:
        """Whatever there was is given back, or was given up."""
        if self._giving_back is not None:
            self._giving_back.cancel()
            self._giving_back.join(timeout=5)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> Generator[None, None, None]:
        """Keep pytest from naming a test of the catalog before it has run: its line comes when it is over."""
        with private.unsaid(self._reporter if nodeid in self._run.tests else None):
            yield

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the line of a test that has ended."""
        result = getattr(report, "testlab", None)
        if result is not None and self._reporter is not None:
            if self._is_worth_a_line(result):
                if self._screen is not None:
                    self._tell_of_targets(self._screen)  # before what was done on them, not up to a tick after
                self._line(result, report.duration)
                self._reporter.flush()
            self.say_store()

    def pytest_enter_pdb(self) -> None:
        """A debugger needs the terminal for itself."""
        self.end()

    # --- the block, and what takes its place in a log -----------------------------------------------------------------

    def _begin(self) -> None:
        if self._reporter is None or not private.has_descriptor(self._reporter):
            return
        if self._verbose >= 0 or self._run.settings.follow:
            self._screen = Screen(self._reporter._tw)
        if self._live and self._screen is not None:
            self._guard = Guard(self._screen.fd)
            self._heed_pauses()
        if self._verbose >= 0:
            self._ticker.start()

    def _heed_pauses(self) -> None:
        """Ctrl-Z leaves no block behind; only where nobody else heeds it, and Python lets it be heeded."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(PAUSE) is signal.SIG_DFL:
            signal.signal(PAUSE, self._pause)
            self._heeds_pauses = True

    def _pause(self, *_: object) -> None:
        """Stop as if the signal had not been heeded. `fg` goes on in here, and the next tick draws the block anew."""
        screen = self._screen
        with screen.given_up() if screen is not None else nullcontext():
            signal.signal(PAUSE, signal.SIG_DFL)
            os.kill(os.getpid(), PAUSE)
            signal.signal(PAUSE, self._pause)

    def end(self) -> None:
        """Leave the terminal as if there had been no block; may be called twice."""
        self._ticker.stop()
        if self._heeds_pauses:
            self._heeds_pauses = False
            signal.signal(PAUSE, signal.SIG_DFL)
        screen, self._screen = self._screen, None
        if screen is not None:
            self._say_urgent(screen)
            screen.close()
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None

    def _draw(self) -> None:
        screen = self._screen
        if screen is not None:
            self._say_urgent(screen)
            self._tell_of_targets(screen)
            width, height = screen.size()
            screen.draw(panel(self._board.run_now(), width=width, height=height, style=self._style))

    def _log(self) -> None:
        screen = self._screen
        if screen is None:
            return
        self._tell_of_targets(screen)
        if time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + PROGRESS_EVERY_S
            if self._run.tests:
                screen.say([self._style.plain(self._progress())])

    def _progress(self) -> str:
        """What a log is told every now and then."""
        now = self._board.run_now()
        counts = [f"{now.counts[status]} {status}" for status in WORTH_A_LINE if now.counts.get(status)]
        ends = [] if now.left_s is None else [ending(now.left_s)]
        running = sorted((t for t in now.targets if t.test), key=lambda target: -target.for_s)
        runs = [f"{t.test} {human(t.for_s)}{f' ({t.phase})' if t.phase else ''}" for t in running[:SHOWN_RUNNING]]
        runs += [f"{len(running) - SHOWN_RUNNING} more"] if len(running) > SHOWN_RUNNING else []
        said = [", ".join([f"{now.done}/{now.planned} done", *counts]), f"after {human(now.elapsed_s)}", *ends]
        said += [now.note] if now.note else []
        return "  " + "; ".join([*said, *([f"running: {', '.join(runs)}"] if runs else [])])

    def _tell_of_targets(self, screen: Screen) -> None:
        """A line for each target that is lost, and that is ready for the first time where no block shows it."""
        for slot in self._run.pool.slots:
            if slot.state is SlotState.LOST:
                self._tell_once(screen, slot.index, "lost", f"  target {self._board.name(slot)} is lost: {slot.say}")
            elif self._board.is_usable(slot) and not self._live and len(self._run.pool.slots) <= MANY_TARGETS:
                spent = slot.seconds.get((slot.image, "provision"), 0.0)
                self._tell_once(
                    screen, slot.index, "ready", f"  target {self._board.name(slot)} is ready, made in {human(spent)}"
                )

    def _tell_once(self, screen: Screen, slot: int, what: str, line: str) -> None:
        with self._telling:
            if (slot, what) not in self._told_of:
                self._told_of.add((slot, what))
                screen.say([self._style.plain(line)])

    # --- what others have to say --------------------------------------------------------------------------------------

    def say_in_handler(self, line: str) -> bool:
        """Have a line printed above the block; False where there is none. Only appends: a handler may not wait."""
        self._board.stopping = True
        if not (self._live and self._ticker.alive):
            return False
        self._urgent.append(line)
        return True

    def erase_in_handler(self) -> None:
        """Remove the block, whoever is writing just now: the process ends."""
        screen = self._screen
        if self._live and screen is not None:
            os.write(screen.fd, ERASE.encode())

    def _say_urgent(self, screen: Screen) -> None:
        while self._urgent:
            screen.say(["", self._style.plain(self._urgent.popleft())])

    def followed(self, test: str, section: str, lines: Sequence[str]) -> None:
        """Print what a test that is followed has shown; from any thread, already masked."""
        screen = self._screen
        if screen is not None:
            edge = "│" if self._style.fancy else "|"
            known = self._run.tests.get(test)
            stage = known["stage"] + known["suffix"] if known else test
            before = f"  {time.strftime('%H:%M:%S')}  {stage} {section} {edge} "
            screen.say([self._style.plain(before + uncoloured(line)) for line in lines])

    def say_store(self) -> None:
        """Say once that the store is away, and once that it is back; where it is found out, or with the next test."""
        if self._reporter is None or self._verbose < 0:
            return
        self._say_store(self._run.recorder.away)
        self._reporter.flush()  # whoever reads a file or a pipe shall know now, and not a page later

    def _say_store(self, away: str | None) -> None:
        if away and not self._away:
            waiting = self._run.recorder.waiting
            self._reporter.ensure_newline()
            self._reporter.line(
                f"  the store is away ({away}): recording to disk only; {waiting} events wait", yellow=True
            )
        elif self._away and not away:
            self._reporter.line("  the store is back, and takes in what waited on disk", light=True)
        self._away = away is not None

    # --- a test's line ------------------------------------------------------------------------------------------------

    def _is_worth_a_line(self, result: Mapping[str, Any]) -> bool:
        if self._verbose > 0:
            return True
        if self._verbose < 0:
            return result["status"] in BAD and not result["again"]
        return not self._live or result["status"] in WORTH_A_LINE

    def _line(self, result: Mapping[str, Any], seconds: float) -> None:
        """`  12/30  ✓ radicale · install   1.2 s  local-0`, and below a failure its headline, the whole of it."""
        writer, style, status = self._reporter, self._style, result["status"]
        writer.ensure_newline()
        planned = len(self._run.tests)
        count = f"{len(self._run.results):>{len(str(planned))}}/{planned}"
        name = style.plain(self._board.test(result["test"], " · "))
        writer.write(f"  {count}  ", light=True)
        width = writer._tw.fullwidth
        names = max(12, min(NAME_WIDTH, width - 30))
        if not writer.isatty:  # in a log nothing is cut
            names = max(NAME_WIDTH, columns(name))
        elif width > WIDE:
            names = max(NAME_WIDTH, min(self._longest(), width * 2 // 5))
        writer.write(f"{style.sign(status)} {pad(name, names, style.cut)}", **STATUS[status][2])
        remark = style.plain("  ".join(filter(None, (self._where(result), self._remark(result)))))
        room = max(10, width - columns(count) - names - 20)
        shown = fit(remark, room, style.cut) if writer.isatty else remark
        writer.line(f"{human(seconds):>11}  {shown}".rstrip(), **STATUS[status][2])
        if status in BAD and not result["again"]:
            for line in result["headline"] or ():
                writer.line(f"      {style.plain(line)}")
        if self._verbose > 1 and result["phases"]:
            phases = ", ".join(f"{phase} {human(spent)}" for phase, spent in result["phases"].items())
            writer.line(f"      {style.plain(phases)}", light=True)

    def _longest(self) -> int:
        """Columns of the longest name of a test in this run."""
        if self._named_of != len(self._run.tests):
            names = (self._style.plain(self._board.test(test, " · ")) for test in self._run.tests)
            self._named_of, self._named = len(self._run.tests), max(map(columns, names), default=NAME_WIDTH)
        return self._named

    def _where(self, result: Mapping[str, Any]) -> str:
        target = result["target"] if self._verbose > 0 else None
        return f"on {self._board.short(str(target))}" if target else ""

    def _remark(self, result: Mapping[str, Any]) -> str:
        headline = result["headline"]
        if result["status"] in ("passed", "flaky"):
            return result["reason"] or ""
        if result["again"]:
            return f"to be tried again; {headline[0] if headline else result['reason'] or ''}"
        if result["status"] in BAD and headline:
            return result["failure_class"] or ""
        return result["reason"] or ""


def _can_be_live(config: pytest.Config, reporter: Any) -> bool:
    """Whether the output is a terminal that is the lab's alone: not under -s or --pdb, and not a log that CI keeps."""
    if reporter is None or not reporter.isatty or os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("CI"):
        return False
    return config.getoption("capture", "fd") != "no" and not config.getoption("usepdb", False)
