"""Runs that pages look at while they go on: read once for all of them, sent as what moved since each last asked."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flask import render_template
from sqlalchemy import Connection

from pytest_testlab.store.reads import runs
from pytest_testlab.store.views import ResultView, RunView, TargetView
from testlab_server.present.words import common_folder

FRESH_S = 0.15
"""What was read for one page is good enough for the others that ask within this time."""
MOST_RUNS = 8
KEPT_BYTES = 4_000_000
"""Of rows that changed, for each run; a page that has not asked for longer than they reach gets all of it again."""


class Watch:
    """One run as last read, and the rows that changed with each reading."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.run: RunView
        self.results: dict[str, ResultView] = {}
        self.targets: Sequence[TargetView] = ()
        self.folder = ""
        self._token = secrets.token_hex(4)
        self._version = 0
        self._changes: deque[str] = deque()
        """The rows of the latest versions, as HTML, of as many as were kept since all was read."""
        self._marks: dict[int, tuple[int, ...]] = {}
        self._shape: tuple[object, ...] = ()
        self._read_at = -FRESH_S

    @property
    def seen(self) -> str:
        """Stands for what a page shows that is made now."""
        return f"{self._token}-{self._version}"

    def rows_since(self, seen: str) -> str | None:
        """The rows that changed since a page was made as of `seen`, as HTML; None when it must have all anew."""
        token, _, number = seen.partition("-")
        if token != self._token or not (number.isascii() and number.isdecimal()):
            return None
        behind = self._version - int(number)
        if not 0 <= behind <= len(self._changes):
            return None
        return "".join(itertools.islice(self._changes, len(self._changes) - behind, None))

    def read(self, connection: Connection, run: RunView) -> None:
        """Look at the run again, unless that was done just now."""
        if time.monotonic() - self._read_at < FRESH_S:
            return
        # The marks first: a result that comes in between is then found changed once more, and never missed.
        marks = runs.marks(connection, run.run)
        targets = runs.targets(connection, run.run)
        shape = (run.state, run.finished_at)
        moved = [test for test in marks.keys() | self._marks.keys() if marks.get(test) != self._marks.get(test)]
        elsewhere = _places(targets) != _places(self.targets)
        self.run, self.targets = run, targets
        changed = runs.results_of(connection, run.run, moved) if moved and self.results else []
        # Not "planned changed": the results, which are read after the run, may have had the plan already.
        unknown = run.planned > len(self.results) or not all(result.test in self.results for result in changed)
        if shape != self._shape or unknown:
            self._turn_whole(connection)
        elif not self.results:
            if moved or elsewhere:
                self._turn_whole(connection)
        else:
            self._turn([result for result in changed if self.results[result.test] != result], elsewhere)
        self._marks, self._shape, self._read_at = marks, shape, time.monotonic()

    def _turn_whole(self, connection: Connection) -> None:
        self.results = {result.test: result for result in runs.results(connection, self.run.run)}
        self.folder = common_folder(self.results)
        self._version += 1
        self._changes.clear()

    def _turn(self, changed: Sequence[ResultView], elsewhere: bool) -> None:
        if not changed and not elsewhere:
            return
        self.results.update({result.test: result for result in changed})
        self._version += 1
        rows = render_template("_run_rows.html", run=self.run, results=changed, folder=self.folder, moved=True)
        self._changes.append(rows)
        while sum(map(len, self._changes)) > KEPT_BYTES:
            self._changes.popleft()


def _places(targets: Sequence[TargetView]) -> list[tuple[object, ...]]:
    return [(target.slot, target.name, target.state, target.test, target.say) for target in targets]


class Watches:
    """The runs that were looked at last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_run: OrderedDict[str, Watch] = OrderedDict()

    @contextmanager
    def watch(self, connection: Connection, run: RunView) -> Iterator[Watch]:
        """The run's watch, fresh; nobody else reads or changes it meanwhile."""
        with self._lock:
            watch = self._by_run.setdefault(run.run, Watch())
            self._by_run.move_to_end(run.run)
            while len(self._by_run) > MOST_RUNS:
                self._by_run.popitem(last=False)
        with watch.lock:
            watch.read(connection, run)
            yield watch
