"""Plays a night of the example catalog on local targets and says whether it went as expected.

`make demo` runs this with the project's own Python. Nights alternate: the second has one more app broken and one of
the broken ones mended, so that the dashboard's diff has something to show. A night that didn't go as expected is
played again the next time.
"""

from __future__ import annotations

import argparse
import datetime as dt
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_testlab.catalog.scan import scan
from pytest_testlab.catalog.tutorials.model import Tutorial
from pytest_testlab.catalog.tutorials.read import read_tutorial
from pytest_testlab.errors import UsageError
from pytest_testlab.options import Settings, resolve
from pytest_testlab.store.embedded import open_store
from pytest_testlab.store.home import home
from pytest_testlab.store.reads.diff import diff
from pytest_testlab.store.reads.runs import list_runs, results
from pytest_testlab.store.views import DiffItem, DiffView, ResultView

EXAMPLES = Path(__file__).resolve().parent
CATALOG = EXAMPLES / "catalog"
NIGHTS = (1, 2)
BRANCH = "demo"
PYTEST_INI = "# Written by the demo: it makes this folder pytest's root, so that each night's tests have the same ids.\n[pytest]\n"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a test came to, or should."""

    status: str
    failure_class: str | None = None
    say: str = ""
    """Why, in a line or several; no part of a comparison."""

    def matches(self, expected: Outcome) -> bool:
        """Whether it is what was expected."""
        return (self.status, self.failure_class) == (expected.status, expected.failure_class)

    def __str__(self) -> str:
        return self.status.replace("_", " ") + (f" ({self.failure_class})" if self.failure_class else "")


ABSENT = Outcome(status="absent", say="it is not among the run's tests")
UNKNOWN = Outcome(status="not in expected.toml")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A test's expected outcome beside its own."""

    test: str
    expected: Outcome
    got: Outcome
    excused: bool = False
    """Skipped, because the target lacks what the entry requires."""

    @property
    def ok(self) -> bool:
        """Whether nobody needs to look at it."""
        return self.excused or self.got.matches(self.expected)


# --- what is expected ------------------------------------------------------------------------------------------------


def expected_outcomes(file: Path, night: int) -> dict[str, Outcome]:
    """Test → outcome on this night; what a later night doesn't name is as on the first."""
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        f"{entry}::{stage}": Outcome(status=outcome["status"], failure_class=outcome.get("class"))
        for entry, stages in {**tables["night-1"], **tables.get(f"night-{night}", {})}.items()
        for stage, outcome in stages.items()
    }


def compare(
    expected: Mapping[str, Outcome], got: Mapping[str, Outcome], requires: Mapping[str, Collection[str]]
) -> list[Row]:
    """A row for each test that was expected or seen. `requires` is an entry's file → the tools it wants."""
    rows = []
    for test in {**expected, **got}:
        outcome = got.get(test, ABSENT)
        tools = requires.get(test.partition("::")[0], ())
        excused = outcome.status == "skipped" and any(tool in outcome.say for tool in tools)
        rows.append(Row(test=test, expected=expected.get(test, UNKNOWN), got=outcome, excused=excused))
    return rows


# --- the night -------------------------------------------------------------------------------------------------------


def next_night(folder: Path) -> int:
    """The night after the one that was last played to its expected end; the first at the beginning."""
    file = folder / "night"
    played = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    return NIGHTS[1] if played == str(NIGHTS[0]) else NIGHTS[0]


def lay_out(folder: Path, night: int) -> Path:
    """A copy of the catalog as it stands on this night, always in the same place; returns that place."""
    work = folder / "catalog"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(CATALOG, work, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    overlay = EXAMPLES / "nights" / str(night)
    if overlay.is_dir():
        shutil.copytree(overlay, work, dirs_exist_ok=True)
    (work / "pytest.ini").write_text(PYTEST_INI, encoding="utf-8")
    return work


def play(work: Path, arguments: Sequence[str]) -> int:
    """Run pytest there with live output; returns its exit code."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    command = [sys.executable, "-m", "pytest", *arguments]
    print("$ " + shlex.join(["pytest", *arguments]), flush=True)
    return subprocess.run(command, cwd=work, env=environ, check=False).returncode


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the demo's folder; raises `UsageError` when another demo has it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another demo is running in {folder}; wait for it, or set TESTLAB_HOME") from None
        yield


# --- what came of it -------------------------------------------------------------------------------------------------


def known_runs(settings: Settings) -> set[str]:
    """The runs of the demo's lane before the night."""
    with open_store(settings) as store, store.engine.connect() as connection:
        return {run.run for run in list_runs(connection, limit=100) if run.branch == BRANCH}


def read_night(settings: Settings, before: Collection[str]) -> tuple[list[ResultView], DiffView | None]:
    """The results of the run that wasn't there before, and its diff; raises `UsageError` when there is none."""
    with open_store(settings) as store, store.engine.connect() as connection:
        runs = [run for run in list_runs(connection, limit=100) if run.branch == BRANCH and run.run not in before]
        if not runs:
            raise UsageError("the night's run is not in the store; try: testlab recover")
        return results(connection, runs[0].run), diff(connection, runs[0].run)


def outcome_of(result: ResultView) -> Outcome:
    """A result as the comparison wants it: only a failure has a class."""
    failed = result.status in ("failed", "error")
    return Outcome(
        status=result.status,
        failure_class=result.failure_class if failed else None,
        say="\n".join(result.headline) or result.reason or "",
    )


def required_tools(work: Path) -> dict[str, tuple[str, ...]]:
    """An entry's or a tutorial's file, as its tests' ids begin → the tools it requires."""
    return {
        subject.file.relative_to(work).as_posix(): tuple(need.tool for need in subject.requires)
        for subject in (*scan(work).entries, *tutorials(work))
    }


def tutorials(work: Path) -> Iterator[Tutorial]:
    """Every tutorial of the catalog."""
    for page in sorted(work.rglob("*.md")):
        if (tutorial := read_tutorial(page, page.read_bytes())) is not None:
            yield tutorial


# --- for people ------------------------------------------------------------------------------------------------------


def paint(text: str, colour: int) -> str:
    """Coloured text where the terminal wants it."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


def table(rows: Iterable[Row]) -> Iterator[str]:
    """A line for each test, expected beside got, and the reason below whatever nobody expected."""
    rows = list(rows)
    name = max((len(short(row.test)) for row in rows), default=0)
    width = max((len(str(row.expected)) for row in rows), default=0)
    yield f"  {'':<10}  {'test':<{name}}  {'expected':<{width}}  got"
    for row in rows:
        mark = paint(f"{'ok':<10}", 32) if row.ok else paint(f"{'UNEXPECTED':<10}", 31)
        yield f"  {mark}  {short(row.test):<{name}}  {row.expected!s:<{width}}  {row.got}"
        if row.excused or not row.ok:
            yield from (f"  {'':<10}    {line}" for line in row.got.say.splitlines())


def short(test: str) -> str:
    """A test's id without what all of its kind have in common."""
    return test.replace("/testlab.toml::", " ").removesuffix("::tutorial")


def changes(night: DiffView | None) -> Iterator[str]:
    """What the morning page would say first."""
    if night is None or night.previous is None:
        return
    lists: tuple[tuple[str, int, tuple[DiffItem, ...]], ...] = (
        ("newly failing", 31, night.newly_failing),
        ("mended", 32, night.newly_fixed),
        ("still failing", 33, night.still_failing),
    )
    yield "Since the night before:"
    for title, colour, items in lists:
        tests = ", ".join(short(item.test) for item in items)
        yield f"  {paint(f'{len(items)} {title}', colour)}{': ' if tests else ''}{tests}"


def serve_command() -> str:
    """The command that opens the dashboard on this very store, as seen from here."""
    program = Path(sys.executable).parent / "testlab"
    shown = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    own_home = os.environ.get("TESTLAB_HOME")
    return f"{f'TESTLAB_HOME={shlex.quote(own_home)} ' if own_home else ''}{shlex.quote(str(shown))} serve"


def summary(night: int, rows: Sequence[Row], since: DiffView | None, seconds: float) -> Iterator[str]:
    """What a person wants to read after a night."""
    good = sum(row.ok for row in rows)
    excused = [short(row.test) for row in rows if row.excused]
    yield ""
    yield paint(f"Night {night}: what was expected, and what came", 1)
    yield from table(rows)
    yield ""
    yield from changes(since)
    if excused:
        yield f"{len(excused)} skipped, because this machine lacks what they require (the reason is above)"
    yield paint(
        f"{good} of {len(rows)} outcomes as expected, in {dt.timedelta(seconds=round(seconds))}",
        32 if good == len(rows) else 31,
    )
    yield "Whatever is red is red on purpose." if good == len(rows) else "The rows marked UNEXPECTED need a look."
    yield ""
    yield f"Open the dashboard:  {paint(serve_command(), 1)}"
    if night == NIGHTS[0] and good == len(rows):
        yield "Play the second night, in which something has changed:  make demo"


# --- the command -----------------------------------------------------------------------------------------------------


def arguments_of(argv: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--night", type=int, choices=NIGHTS, help="this night; default: the one whose turn it is")
    parser.add_argument("--pool", default="2", metavar="N", help="how many targets (default 2)")
    parser.add_argument("--provider", default="local", metavar="P", help="who makes them (default local)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Play the night; 0 when every outcome is the expected one, 1 when not, pytest's own code when it didn't finish."""
    asked = arguments_of(argv)
    try:
        settings = resolve({}, {})
        folder = home(settings) / "demo"
        with alone(folder):
            return _night(asked, settings, folder)
    except UsageError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2


def _night(asked: argparse.Namespace, settings: Settings, folder: Path) -> int:
    night = asked.night or next_night(folder)
    work = lay_out(folder, night)
    before = known_runs(settings)
    print(paint(f"Night {night} of {len(NIGHTS)}, on {asked.pool} {asked.provider} targets", 1), flush=True)
    started = time.monotonic()
    options = {"pool": asked.pool, "provider": asked.provider, "branch": BRANCH}
    code = play(work, [part for name, value in options.items() for part in (f"--testlab-{name}", value)])
    if code not in (0, 1):
        print(f"demo: the night did not come to its end (pytest's exit code {code}); see above", file=sys.stderr)
        return code
    found, since = read_night(settings, before)
    expected = expected_outcomes(CATALOG / "expected.toml", night)
    rows = compare(expected, {result.test: outcome_of(result) for result in found}, required_tools(work))
    print("\n".join(summary(night, rows, since, time.monotonic() - started)))
    if not all(row.ok for row in rows):
        return 1
    (folder / "night").write_text(f"{night}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
