"""A testlab.toml as pytest nodes: one file node, and under it a test for each stage.

The file node holds what its tests share: the deployed app. pytest tears it down when the next test is another
entry's, so an app lives exactly as long as its tests need it.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from pytest_testlab.catalog.folders import Folder
from pytest_testlab.catalog.read import check_place, parse_entry, read_bytes
from pytest_testlab.catalog.scan import NameRegistry
from pytest_testlab.catalog.secrets import SecretLookup, require_all
from pytest_testlab.errors import CatalogError, StageFailure, TestlabError, UsageError, one_line
from pytest_testlab.model import Entry, SecretRef, Stage, Suite
from pytest_testlab.options import PRIORITIES, SUITES, Settings

if TYPE_CHECKING:
    from pytest_testlab.catalog.lab import Lab
    from pytest_testlab.catalog.stages import UnitState

FILE_NAME = "testlab.toml"
RERUN = "rerun"
"""The outcome of a report whose test is tried again; pytest-rerunfailures' word, which other plugins know."""
LAB: pytest.StashKey[Lab] = pytest.StashKey()
_SEEN: pytest.StashKey[Seen] = pytest.StashKey()


class Headline(TestlabError):
    """What pytest shows of a failed test: the headline of its bundle, and no traceback."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("\n".join(lines))


class EntryFile(pytest.File):
    """One testlab.toml."""

    entry: Entry
    state: UnitState | None = None
    place: str | None = None
    """Its path in the catalog where that can't be shown as it is."""

    @property
    def ihook(self) -> pluggy.HookRelay:
        """The hooks of the folders above. An entry's own folder has none: a conftest.py in there is its app's."""
        assert self.parent is not None
        return self.parent.ihook

    def collect(self) -> Iterator[EntryItem]:
        """Read the file and make a test for each stage; raises `CatalogError` with all of its problems."""
        check_place(self.path, self.nodeid if self.place is None else self.place)
        data = read_bytes(self.path)
        self.entry = parse_entry(self.path, data)
        seen = self.config.stash[_SEEN]
        seen.names.claim(self.entry.name, self.path)
        seen.digest.update(data)
        self.extra_keyword_matches.update((self.entry.name, *self.entry.tags))
        self.add_marker(self.entry.suite.value)
        self.add_marker(self.entry.priority.value)
        for stage in Stage:
            yield EntryItem.from_parent(self, name=stage.value, stage=stage)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """A malformed file is shown as its problems, a line each."""
        if isinstance(excinfo.value, CatalogError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def setup(self) -> None:
        """Let the lab make the target fit for a new entry."""
        lab = self.config.stash.get(LAB, None)
        if lab is not None:
            lab.enter(self)

    def teardown(self) -> None:
        """Remove the entry's app, if it was deployed."""
        lab = self.config.stash.get(LAB, None)
        if lab is not None:
            lab.leave(self)


class EntryItem(pytest.Item):
    """One stage of an entry."""

    parent: EntryFile
    result: dict[str, Any] | None = None
    """What came of it, as plain values; goes with the report to the controller."""

    def __init__(self, *, stage: Stage, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.add_marker(stage.value)

    @property
    def ihook(self) -> pluggy.HookRelay:
        """Its file's."""
        return self.parent.ihook

    @property
    def entry(self) -> Entry:
        """The entry that it tests."""
        return self.parent.entry

    @property
    def last_stage(self) -> Stage:
        """The last stage of the entry that has something to do."""
        return Stage.CHECK if self.entry.checks else Stage.INSTALL

    @property
    def has_work(self) -> bool:
        """Whether the entry says anything for this stage."""
        return self.stage is Stage.INSTALL or bool(self.entry.checks)

    def runtest(self) -> None:
        """Run the stage on this process's target."""
        self.config.stash[LAB].run(self)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where it comes from, for people."""
        return self.path, 0, f"{self.entry.name}::{self.name}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """A failure is shown as its headline; only a fault of the lab's own shows a traceback."""
        if isinstance(excinfo.value, Headline | StageFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def describe(self) -> dict[str, Any]:
        """What the controller must know of it, as plain values."""
        entry = self.entry
        return {
            "test": self.nodeid,
            "suite": entry.suite.value,
            "entry": entry.name,
            "stage": self.stage.value,
            "priority": entry.priority.value,
            "owner": entry.owner,
            "tags": list(entry.tags),
            "file": self.nodeid.partition("::")[0],
        }


def _entry_file(folder: Folder, path: Path) -> EntryFile:
    """pytest prints a file's id as it is, so that one which would steer the terminal is given an escaped one."""
    file = EntryFile.from_parent(folder, path=path)
    if not file.nodeid.isprintable():
        place = file.nodeid
        file = EntryFile.from_parent(folder, path=path, nodeid=one_line(place))
        file.place = place
    return file


class Seen:
    """What the files of a catalog have in common while they are collected."""

    def __init__(self) -> None:
        self.names = NameRegistry()
        self.digest = hashlib.sha256()
        self.folders: set[tuple[int, int]] = set()


class CatalogPlugin:
    """Collects entries and keeps the selection to what the settings ask for."""

    def __init__(self, settings: Settings) -> None:
        self._suites = None if settings.suite is None else {Suite(name) for name in settings.suite}
        self._priorities = settings.priority

    def pytest_configure(self, config: pytest.Config) -> None:
        """Make the lab's marks known, so that `-m "apps and P0"` works under strict markers."""
        config.stash[_SEEN] = Seen()
        for name in SUITES:
            config.addinivalue_line("markers", f"{name}: tests of the suite {name}")
        for name in PRIORITIES:
            config.addinivalue_line("markers", f"{name}: entries of the priority {name}")
        for stage in Stage:
            config.addinivalue_line("markers", f"{stage.value}: the stage {stage.value} of an entry")

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Keep the garbage collector away: the nodes are all kept, and it would look through them again and again.

        That is an eighth of the time that collecting takes.
        """
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return (yield)
        finally:
            if was_enabled:
                gc.enable()

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> Folder | None:
        """Walk folders as catalogs; Python's packages stay pytest's own."""
        if (path / "__init__.py").is_file():
            return None
        return Folder.from_parent(parent, path=path, make=_entry_file, seen=parent.config.stash[_SEEN].folders)

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> EntryFile | None:
        """Take every testlab.toml."""
        return EntryFile.from_parent(parent, path=file_path) if file_path.name == FILE_NAME else None

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what --testlab-suite and --testlab-priority don't name."""
        if self._suites is None and self._priorities is None:
            return
        out = [item for item in items if isinstance(item, EntryItem) and not self._wanted(item.entry)]
        if out:
            config.hook.pytest_deselected(items=out)
            gone = set(map(id, out))
            items[:] = [item for item in items if id(item) not in gone]

    def _wanted(self, entry: Entry) -> bool:
        suite_fits = self._suites is None or entry.suite in self._suites
        return suite_fits and (self._priorities is None or entry.priority.value in self._priorities)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach what came of a test; an infrastructure fault is an error to pytest and not a failure."""
        report = yield
        lab = item.config.stash.get(LAB, None)
        if lab is not None and isinstance(item, EntryItem):
            _mask(report, lab)
        if isinstance(item, EntryItem) and report.when != "call" and call.excinfo is not None:
            _shorten(report, call.excinfo.value)
        if isinstance(item, EntryItem) and report.when == "call" and item.result is not None:
            report.testlab = item.result  # type: ignore[attr-defined]
            if item.result["status"] == "error":
                report.when = "setup"
            if item.result["again"]:
                report.outcome = RERUN  # type: ignore[assignment]
        return report


def _mask(report: pytest.TestReport, lab: Lab) -> None:
    """Whatever pytest itself took down of a test may hold secrets too: tracebacks with their locals, output, logs."""
    if report.longrepr is not None and not isinstance(report.longrepr, tuple):
        text = report.longreprtext
        masked = lab.mask(text)
        if masked != text:
            report.longrepr = masked
    report.sections = [(name, lab.mask(text)) for name, text in report.sections]


def _shorten(report: pytest.TestReport, error: BaseException) -> None:
    """What the lab raises on purpose before or after a test is said in a line; pytest would show a traceback."""
    if isinstance(error, TestlabError):
        report.longrepr = f"{type(error).__name__}: {error}"


def describe(items: list[pytest.Item]) -> list[dict[str, Any]]:
    """Every test of the catalog among the items."""
    return [item.describe() for item in items if isinstance(item, EntryItem)]


def digest(config: pytest.Config) -> str:
    """A digest of every testlab.toml that was read, in order."""
    return config.stash[_SEEN].digest.hexdigest()


def given_secrets(items: list[pytest.Item], lookup: SecretLookup) -> set[str]:
    """The values of all secrets that entries name and somebody gave."""
    files = dict.fromkeys(item.parent for item in items if isinstance(item, EntryItem))
    found = set()
    for name in {value.name for file in files for value in file.entry.env.values() if isinstance(value, SecretRef)}:
        with contextlib.suppress(UsageError):
            found.add(lookup(name))
    return found


def missing_secrets(items: list[pytest.Item], lookup: SecretLookup) -> str:
    """What is to be said of the secrets that entries name and nobody gave, a line each; empty when all are there."""
    files = dict.fromkeys(item.parent for item in items if isinstance(item, EntryItem))
    try:
        require_all((file.entry for file in files), lookup)
    except UsageError as error:
        return str(error)
    return ""
