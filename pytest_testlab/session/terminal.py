"""What a person sees of a run: a line a test while it goes on, and a summary at the end."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_testlab.catalog.items import RERUN
from pytest_testlab.distribution import private
from pytest_testlab.session.statusline import StatusLine

if TYPE_CHECKING:
    from pytest_testlab.session.run import Run

SIGNS = {
    "passed": ("✓", "+", {"green": True}),
    "flaky": ("≈", "~", {"yellow": True}),
    "failed": ("✗", "x", {"red": True, "bold": True}),
    "error": ("⚡", "!", {"purple": True, "bold": True}),
    "blocked": ("⊘", "#", {"yellow": True}),
    "skipped": ("–", "-", {"light": True}),
    "shed": ("↓", "v", {"light": True}),
    "not_run": ("·", ".", {"light": True}),
}
WORDS = {"not_run": "not run", "error": "infrastructure error"}
SHOWN_FAILURES = 20
NAME_WIDTH = 32
WHERE_TO_LOOK = "look at: "
"""How the line of a headline begins that says what to do next."""
PYTESTS_SUMMARY = "fE"
"""What pytest lists at the end unless told otherwise; the lab's own summary says it better."""
UNBOUNDED = 300
"""Characters of a remark where no terminal would wrap it."""


def human(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """A line for each test that ends, and one for what runs; under `-q` and `-v`, pytest's own letters and lines."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self._run = run
        self._verbose: int = getattr(config.option, "verbose", 0)
        """Not there under `-p no:terminal`."""
        self._reporter: Any = config.pluginmanager.getplugin("terminalreporter")
        self._fancy = _fancy(self._reporter)
        self._running: dict[str, float] = {}
        self._away = False
        """Whether the store was away when it was last spoken of."""
        self._status = StatusLine(getattr(self._reporter, "_tw", None), self._now)
        if self._reporter is not None and not self._verbose:
            private.only_our_lines(self._reporter)
            if config.option.reportchars == PYTESTS_SUMMARY:
                self._reporter.reportchars = self._reporter.reportchars.translate(dict.fromkeys(map(ord, "fE")))

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count by the lab's own words; print a letter only under -q, a line only under -v."""
        result = getattr(report, "testlab", None)
        if result is None:
            return None
        status = result["status"]
        if result["again"]:
            return RERUN, SIGNS[status][1] if self._verbose < 0 else "", f"{status.upper()}, AGAIN"
        return status, SIGNS[status][1] if self._verbose < 0 else "", status.upper()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Show what runs for as long as tests run; not under --pdb, which needs the terminal for itself."""
        if not self._verbose and StatusLine.fits(self._reporter) and not session.config.getoption("usepdb", False):
            self._status.start()
        try:
            return (yield)
        finally:
            self._status.stop()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Remember what runs, and since when."""
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Forget it."""
        self._running.pop(nodeid, None)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the line of a test that has ended."""
        result = getattr(report, "testlab", None)
        if result is not None and not self._verbose and self._reporter is not None:
            with self._status.aside():
                self._line(result, report.duration)
            self.say_store()

    def say_store(self) -> None:
        """Say once that the store is away, and once that it is back; where it is found out, or with the next test."""
        if self._reporter is None or self._verbose < 0:
            return
        with self._status.aside():
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

    def _line(self, result: Mapping[str, Any], seconds: float) -> None:
        writer = self._reporter
        writer.ensure_newline()
        fancy, plain, colour = SIGNS[result["status"]]
        planned = len(self._run.tests)
        count = f"{len(self._run.results):>{len(str(planned))}}/{planned}"
        writer.write(f"  {count}  ", light=True)
        writer.write(f"{fancy if self._fancy else plain} {self._name(result['test']):<{NAME_WIDTH}}", **colour)
        writer.write(f"{human(seconds):>11}  ")
        room = max(20, writer._tw.fullwidth - len(count) - NAME_WIDTH - 20) if writer.isatty else UNBOUNDED
        writer.line(_shortened(self._remark(result), room), **colour)

    def _name(self, test: str) -> str:
        known = self._run.tests.get(test)
        return _shortened(f"{known['entry']} · {known['stage']}" if known else test, NAME_WIDTH)

    def _remark(self, result: Mapping[str, Any]) -> str:
        if result["status"] in ("passed", "flaky"):
            return result["reason"] or ""
        headline = result["headline"]
        say = str(headline[0] if headline else result["reason"] or result["status"])
        return f"to be tried again; {say}" if result["again"] else say

    def _now(self) -> str:
        """What the status line says."""
        now = time.monotonic()
        running = [f"{self._name(test)} {human(now - since)}" for test, since in list(self._running.items())]
        planned = len(self._run.tests)
        done = f"{len(self._run.results)} of {planned} done" if planned else "collecting"
        seconds = self._run.forecast.remaining_s
        left = f"about {human(max(seconds, 1.0))} left" if seconds is not None else ""
        away = f"store away, {self._run.recorder.waiting} events wait on disk" if self._run.recorder.away else ""
        return "  " + " │ ".join(filter(None, (done, left, away, ", ".join(running) or self._run.pool.say())))


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def summarize(run: Run, writer: Any) -> None:
    """Print what a tired person wants to know: the verdict, each failure's cause, and where to read on."""
    fancy = _fancy(writer)
    counts = run.counts
    writer.section("testlab", sep="=")
    _verdict(run, writer, counts, fancy)
    failures = [result for result in run.last.values() if result["status"] in ("failed", "error")]
    for result in sorted(failures, key=lambda result: (result["status"], result["test"]))[:SHOWN_FAILURES]:
        _failure(run, writer, result, fancy)
    if len(failures) > SHOWN_FAILURES:
        writer.line(f"  … and {len(failures) - SHOWN_FAILURES} more")
    writer.line("")
    spent = human(run.phases.get("total", run.elapsed))
    writer.line(
        f"  run {run.id} · {_targets(run.settings.pool)} ({run.settings.provider}) · {spent} · {run.provenance.lane}"
    )
    writer.line("  testlab diff · testlab why TEST · testlab serve", light=True)


def _targets(count: int) -> str:
    return f"{count} target" + ("s" if count != 1 else "")


def _verdict(run: Run, writer: Any, counts: Mapping[str, int], fancy: bool) -> None:
    if run.aborted or run.unrecorded:
        writer.line(f"  aborted: {run.aborted or run.unrecorded}", red=True, bold=True)
    if run.say:
        writer.line(f"  {run.say}", yellow=True)
    writer.write("  ")
    for status, (sign, plain, colour) in SIGNS.items():
        if counts.get(status):
            word = WORDS.get(status, status)
            writer.write(f"{sign if fancy else plain} {counts[status]} {word}   ", **colour)
    writer.line("")


def _failure(run: Run, writer: Any, result: Mapping[str, Any], fancy: bool) -> None:
    fancy_sign, plain, colour = SIGNS[result["status"]]
    test = run.tests.get(result["test"], {})
    name = f"{test.get('entry', result['test'])} · {test.get('stage', '')}"
    lines = result["headline"] or [result["reason"] or ""]
    writer.line("")
    writer.write(f"  {fancy_sign if fancy else plain} {name}  ", **colour)
    writer.line(lines[0])
    for line in lines[1:]:
        if line.startswith(WHERE_TO_LOOK):
            writer.line(f"      {line}", light=True)


def _fancy(writer: Any) -> bool:
    """Whether the terminal can show more than ASCII."""
    encoding = getattr(getattr(writer, "_tw", None), "encoding", None) or getattr(
        getattr(getattr(writer, "_tw", None), "_file", None), "encoding", None
    )
    return (encoding or "").lower().replace("-", "") == "utf8"
