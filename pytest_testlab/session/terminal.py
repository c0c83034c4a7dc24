"""What a person sees of a run: a line a test while it goes on, and a summary at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_testlab.distribution import private

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


def human(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """A line for each test that ends, with how much is left; under `-q` and `-v`, pytest's own letters and lines."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self._run = run
        self._verbose = config.option.verbose
        self._reporter: Any = config.pluginmanager.getplugin("terminalreporter")
        self._started = time.monotonic()
        self._fancy = _fancy(self._reporter)
        if self._reporter is not None and not self._verbose:
            private.only_our_lines(self._reporter)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count by the lab's own words; print a letter only under -q, a line only under -v."""
        result = getattr(report, "testlab", None)
        if result is None:
            return None
        status = result["status"]
        return status, SIGNS[status][1] if self._verbose < 0 else "", status.upper()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the line."""
        result = getattr(report, "testlab", None)
        if result is not None and not self._verbose and self._reporter is not None:
            self._line(result, report.duration)

    def _line(self, result: Mapping[str, Any], seconds: float) -> None:
        status = result["status"]
        test = self._run.tests.get(result["test"], {})
        name = f"{test.get('entry', result['test'])} · {test.get('stage', '')}"
        writer = self._reporter
        writer.ensure_newline()
        sign, _, colour = self._sign(status)
        writer.write(f"  {sign} {name:<34.48} ", **colour)
        writer.write(f"{human(seconds):>10}  ")
        writer.write(f"{self._remark(result):<44.110}", **colour)
        writer.line(f"  {self._left()}", light=True)

    def _sign(self, status: str) -> tuple[str, str, dict[str, bool]]:
        fancy, plain, colour = SIGNS[status]
        return (fancy if self._fancy else plain), plain, colour

    def _remark(self, result: Mapping[str, Any]) -> str:
        if result["status"] == "passed":
            return result["reason"] or ""
        headline = result["headline"]
        return str(headline[0] if headline else result["reason"] or result["status"])

    def _left(self) -> str:
        done, planned = len(self._run.results), len(self._run.tests)
        seconds = remaining_s(self._run, time.monotonic() - self._started)
        left = f", about {human(seconds)} left" if seconds is not None and done < planned else ""
        return f"{done}/{planned}{left}"


def remaining_s(run: Run, elapsed: float) -> float | None:
    """Seconds until the end, from what the tests so far took against what they were expected to; None = no idea yet."""
    if not run.results or not run.tests:
        return None

    def expected(name: str) -> float:
        test = run.tests.get(name)
        return run.estimates.of(name, f"{test['suite']}/{test['stage']}") if test else 0.0

    done = sum(expected(name) for name in run.results)
    left = sum(expected(name) for name in run.tests if name not in run.results)
    return elapsed * left / done if done else None


def summarize(run: Run, writer: Any) -> None:
    """Print what a tired person wants to know: the verdict, each failure's cause, and where to read on."""
    fancy = _fancy(writer)
    counts = run.counts
    writer.section("testlab", sep="=")
    _verdict(run, writer, counts, fancy)
    failures = [result for result in run.results.values() if result["status"] in ("failed", "error")]
    for result in sorted(failures, key=lambda result: (result["status"], result["test"]))[:SHOWN_FAILURES]:
        _failure(run, writer, result, fancy)
    if len(failures) > SHOWN_FAILURES:
        writer.line(f"  … and {len(failures) - SHOWN_FAILURES} more")
    writer.line("")
    spent = human(run.phases.get("total", run.elapsed))
    writer.line(
        f"  run {run.id} · {run.settings.pool} targets ({run.settings.provider}) · {spent} · {run.provenance.lane}"
    )
    writer.line("  testlab diff · testlab why TEST · testlab serve", light=True)


def _verdict(run: Run, writer: Any, counts: Mapping[str, int], fancy: bool) -> None:
    if run.aborted:
        writer.line(f"  aborted: {run.aborted}", red=True, bold=True)
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
    writer.line("")
    name = f"{test.get('entry', result['test'])} · {test.get('stage', '')}"
    writer.line(f"  {fancy_sign if fancy else plain} {name}", **colour)
    for line in (result["headline"] or [result["reason"] or ""])[:3]:
        writer.line(f"      {line}")


def _fancy(writer: Any) -> bool:
    """Whether the terminal can show more than ASCII."""
    encoding = getattr(getattr(writer, "_tw", None), "encoding", None) or getattr(
        getattr(getattr(writer, "_tw", None), "_file", None), "encoding", None
    )
    return (encoding or "").lower().replace("-", "") == "utf8"
