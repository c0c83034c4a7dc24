"""A testlab.toml as pytest nodes: one file node, and under it a test for each stage.

The file node holds what its tests share: the deployed app. pytest tears it down when the next test is another
entry's, so an app lives exactly as long as its tests need it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from pytest_testlab.catalog import fixtures
from pytest_testlab.catalog.folders import Folder
from pytest_testlab.catalog.formats import Formats
from pytest_testlab.catalog.functions import MARK_HELP, adopt, settle, spread
from pytest_testlab.catalog.install import InstallItem
from pytest_testlab.catalog.items import (
    LAB,
    RERUN,
    SEEN,
    CatalogItem,
    CatalogUnit,
    Equipment,
    Seen,
    UnitState,
)
from pytest_testlab.catalog.read import check_place, read_bytes
from pytest_testlab.catalog.tutorials.nodes import PageFile, page_file, page_of_entry
from pytest_testlab.errors import TestlabError, one_line
from pytest_testlab.model import Entry, FailureClass, Stage, Subject, Suite, Verdict
from pytest_testlab.options import PRIORITIES, SUITES, Settings

if TYPE_CHECKING:
    from pytest_testlab.catalog.lab import Lab
    from pytest_testlab.protocols import Observer

FILE_NAME = "testlab.toml"
REJECTIONS = (FailureClass.BUILD_FAILURE, FailureClass.DEPLOY_FAILURE, FailureClass.APP_CRASH)
"""What counts as a platform's rejecting an app: never a deadline, nor a fault of the server's, such as a full disk."""


class EntryFile(CatalogUnit, pytest.File):
    """One testlab.toml."""

    entry: Entry
    place: str | None = None
    """Its path in the catalog where that can't be shown as it is."""

    @property
    def alone(self) -> bool:
        """As the entry says."""
        return self.entry.alone

    @property
    def ihook(self) -> pluggy.HookRelay:
        """The hooks of the folders above. An entry's own folder has none: a conftest.py in there is its app's."""
        assert self.parent is not None
        return self.parent.ihook

    def collect(self) -> Iterator[EntryItem]:
        """Read the file and make a test for each stage; raises `CatalogError` with all of its problems."""
        check_place(self.path, self.nodeid if self.place is None else self.place)
        data = read_bytes(self.path)
        seen = self.config.stash[SEEN]
        self.entry = seen.formats.read(self.path, data, self.nodeid if self.place is None else self.place)
        seen.names.claim(self.entry.name, self.path)
        seen.entries[self.entry.name] = self.entry
        seen.digest.update(data)
        if self.path.name != FILE_NAME:  # what its file doesn't say by itself
            seen.digest.update(repr(self.entry).encode())
        self.extra_keyword_matches.update((self.entry.name, *self.entry.tags))
        self.add_marker(self.entry.suite.value)
        self.add_marker(self.entry.priority.value)
        for place in seen.places:
            for stage in Stage:
                yield EntryItem.from_parent(self, name=stage.value + place.suffix, stage=stage).put(place)


class EntryItem(CatalogItem):
    """One stage of an entry."""

    parent: EntryFile
    stage: Stage

    def __init__(self, *, stage: Stage, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.add_marker(stage.value)

    @property
    def ihook(self) -> pluggy.HookRelay:
        """Its file's."""
        return self.parent.ihook

    @property
    def subject(self) -> Entry:
        """The entry that it tests."""
        return self.parent.entry

    @property
    def unit(self) -> EntryFile:
        """Its file."""
        return self.parent

    @property
    def static(self) -> bool:
        """Whether the entry is a static site."""
        return self.subject.static is not None

    @property
    def is_last(self) -> bool:
        """Whether no later stage of the entry has something to do."""
        return self.stage is (Stage.CHECK if self._has_checks else Stage.INSTALL)

    def foresaw(self, verdict: Verdict) -> str | None:
        """As the entry expects; whatever is the app's own fault will do where it is to be rejected."""
        if self.subject.rejected and self.stage is Stage.INSTALL and verdict.failure_class in REJECTIONS:
            return f"was rejected with {verdict.failure_class.value}, as expected"
        return super().foresaw(verdict)

    def missed(self) -> str | None:
        """A deploy that was to be rejected must not go through."""
        if self.subject.rejected and self.stage is Stage.INSTALL:
            return "expected to be rejected, but it was deployed"
        return super().missed()

    @property
    def idle(self) -> str | None:
        """An entry need not have checks, and one that is to be rejected has nothing to check."""
        if self.subject.rejected and self.stage is Stage.CHECK:
            return "the entry is to be rejected, so there is nothing to check"
        return "the entry has no [[checks]]" if self.stage is Stage.CHECK and not self._has_checks else None

    @property
    def _has_checks(self) -> bool:
        return bool(self.subject.checks or self.subject.steps or self.subject.unproven)

    @property
    def has_app(self) -> bool:
        """Whether there is more to the entry than a demo's steps."""
        return self.subject.deploys

    def work(self, equipment: Equipment, state: UnitState, observe: Observer) -> None:
        """Run the stage."""
        from pytest_testlab.catalog.stages import run_stage  # it stands on what only a process with a target needs

        before = state.deployed
        run_stage(self.stage, self.subject, equipment, state, observe)
        if state.deployment is not None and state.deployment.replaces and not before:
            self.remark = f"replaces {state.deployment.replaces}, which an earlier run left on this server"

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where it comes from, for people."""
        return self.path, 0, f"{self.subject.name}::{self.name}"


def _entry_file(folder: Folder, path: Path) -> EntryFile | PageFile:
    """pytest prints a file's id as it is, so that one which would steer the terminal is given an escaped one."""
    if path.suffix == ".md":
        return page_of_entry(folder, path)
    file = EntryFile.from_parent(folder, path=path)
    if not file.nodeid.isprintable():
        place = file.nodeid
        file = EntryFile.from_parent(folder, path=path, nodeid=one_line(place))
        file.place = place
    return file


class CatalogPlugin:
    """Collects entries and keeps the selection to what the settings ask for."""

    def __init__(self, settings: Settings, formats: Callable[[], Formats] = Formats) -> None:
        self._formats = formats
        self._nightly = settings.mode == "nightly"
        self._images = settings.images
        self._suites = None if settings.suite is None else {Suite(name) for name in settings.suite}
        self._priorities = settings.priority

    def pytest_configure(self, config: pytest.Config) -> None:
        """Make the lab's marks known, so that `-m "apps and P0"` works under strict markers."""
        config.stash[SEEN] = Seen()
        config.stash[SEEN].images = self._images
        config.stash[SEEN].formats = self._formats()
        config.pluginmanager.register(fixtures, "testlab-fixtures")
        config.addinivalue_line("markers", MARK_HELP)
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
        seen = parent.config.stash[SEEN]
        return Folder.from_parent(parent, path=path, make=_entry_file, seen=seen.folders, formats=seen.formats)

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> CatalogUnit | None:
        """Take every testlab.toml, every entry of another format, and every Markdown file that is a tutorial."""
        formats = parent.config.stash[SEEN].formats
        if file_path.suffix == ".md":
            return page_file(parent, file_path, formats.page(file_path))
        if file_path.name == FILE_NAME or (
            formats and formats.entry_file(file_path.parent, (file_path.name,)) == file_path
        ):
            return EntryFile.from_parent(parent, path=file_path)
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_pycollect_makeitem(self) -> Generator[None, Any, Any]:
        """Take the test functions that ask for the lab's fixtures."""
        made = yield
        return [adopt(item) for item in made] if isinstance(made, list) else made

    @pytest.hookimpl(trylast=True)  # so that the image comes last in what the test is called
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Have test functions of the lab run on each image."""
        spread(metafunc)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Add the night's own test, keep to what the settings ask for, and settle what the rest stands on.

        The install of the platform comes before all, however others order the tests; `-k` and `-m` may leave it out.
        """
        if self._nightly and any(isinstance(item, CatalogItem) for item in items):
            items[:0] = [InstallItem.of(session, place) for place in config.stash[SEEN].places]
        self._select(config, items)
        yield
        items.sort(key=self._order)
        settle(config, items)

    def _order(self, item: pytest.Item) -> tuple[int, bool]:
        """Image after image, so that one target needn't change to and fro; what isn't the catalog's has none."""
        if not isinstance(item, CatalogItem):
            return 0, True
        return self._images.index(item.place.image), not item.first

    def _select(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if self._suites is None and self._priorities is None:
            return
        out = [item for item in items if isinstance(item, CatalogItem) and not self._wanted(item.subject)]
        if out:
            config.hook.pytest_deselected(items=out)
            gone = set(map(id, out))
            items[:] = [item for item in items if id(item) not in gone]

    def _wanted(self, subject: Subject) -> bool:
        suite_fits = self._suites is None or subject.suite in self._suites
        return suite_fits and (self._priorities is None or subject.priority.value in self._priorities)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach what came of a test; an infrastructure fault is an error to pytest and not a failure."""
        report = yield
        lab = item.config.stash.get(LAB, None)
        if lab is None or not isinstance(item, CatalogItem):
            return report
        _mask(report, lab, item.concealed or ())
        if report.when != "call" and call.excinfo is not None:
            _shorten(report, call.excinfo.value)
        passed_over = report.when == "setup" and report.skipped and item.result is None
        if passed_over and call.excinfo is not None:
            lab.pass_over(item, str(call.excinfo.value))
        if (report.when == "call" or passed_over) and item.result is not None:
            _attach(report, item.result)
            report.testlab_traceback = item.has_traceback and not item.result["again"]  # type: ignore[attr-defined]
        return report


def _attach(report: pytest.TestReport, result: dict[str, Any]) -> None:
    """Have pytest say what the lab says of a test, whatever its own marks made of it."""
    report.testlab = result  # type: ignore[attr-defined]
    if result["status"] in ("failed", "error"):
        if report.outcome != "failed":  # xfail takes what isn't its own
            report.outcome = "failed"
            report.longrepr = "\n".join(result["headline"] or ()) or result["reason"]
        report.__dict__.pop("wasxfail", None)
    if result["status"] == "error":
        report.when = "setup"
    if result["again"]:
        report.outcome = RERUN  # type: ignore[assignment]


def _mask(report: pytest.TestReport, lab: Lab, concealed: Iterable[str]) -> None:
    """Whatever pytest itself took down of a test may hold secrets too: tracebacks with their locals, output, logs."""
    if report.longrepr is not None and not isinstance(report.longrepr, tuple):
        text = report.longreprtext
        masked = lab.mask(text, concealed)
        if masked != text:
            report.longrepr = masked
    report.sections = [(name, lab.mask(text, concealed)) for name, text in report.sections]


def _shorten(report: pytest.TestReport, error: BaseException) -> None:
    """What the lab raises on purpose before or after a test is said in a line; pytest would show a traceback."""
    if isinstance(error, TestlabError):
        report.longrepr = f"{type(error).__name__}: {error}"
