"""Ordinary pytest functions as tests of the catalog: those that ask for `target`, `app`, `apps` or `http`.

pytest collects and parametrizes them; what is different is that their fixtures are set up as a part of the test, so
that whatever fails from the first upload on has a bundle, a class and a headline like any other test of the catalog.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.skipping import xfailed_key

from pytest_testlab.catalog import fixtures, readers, values
from pytest_testlab.catalog.alarm import within
from pytest_testlab.catalog.bench import Bench
from pytest_testlab.catalog.items import LAB, SEEN, CatalogItem, Equipment, Headline, UnitState
from pytest_testlab.catalog.lookup import find_entry
from pytest_testlab.catalog.read import check_place
from pytest_testlab.catalog.telltale import place_of, said_by
from pytest_testlab.errors import (
    AssertionFailed,
    CatalogError,
    CheckFailed,
    InfraError,
    NoAnswer,
    RequirementMissing,
    StageFailure,
    TestRaised,
    UsageError,
)
from pytest_testlab.model import Entry, EnvValue, FailureClass, Priority, Subject, Suite, Verdict

if TYPE_CHECKING:
    from pytest_testlab.protocols import Observer

MARK = "testlab"
MARK_HELP = (
    "testlab(app=None, owner=None, priority='P1', tags=(), timeout='10m', alone=False): what the lab should know of a "
    "test that asks for target, app, apps or http"
)
_READERS: Mapping[str, tuple[str, readers.Convert[Any]]] = {
    "app": ("app", readers.line),
    "owner": ("owner", readers.line),
    "priority": ("priority", values.priority),
    "tags": ("tags", lambda given: readers.many(values.tag, 20, unique=True)(_listed(given))),
    "timeout": ("timeout_s", values.duration),
    "alone": ("alone", readers.boolean),
}
"""Keyword of the mark → (field of `About`, reader)."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a platform test says of itself by its marks; a `Subject`."""

    name: str
    """Its module's, without the `test_` that says nothing."""
    app: str | None = None
    """The entry that the fixture `app` deploys: its name, or a path from the test's folder."""
    owner: str | None = None
    priority: Priority = Priority.P1
    tags: tuple[str, ...] = ()
    timeout_s: float = 600.0
    alone: bool = False
    suite: Suite = Suite.PLATFORM
    expects_failure: FailureClass | None = None
    env: Mapping[str, EnvValue] = field(default_factory=dict)


class PlatformTest(CatalogItem, pytest.Function):
    """A test function that uses a target of the pool; a unit of its own."""

    about: About
    entry: Entry | None = None
    """What the fixture `app` deploys; known once all is collected."""
    state: UnitState | None = None
    bench: Bench | None = None
    """What its fixtures stand on, while it runs."""
    has_traceback = False
    _raised: BaseException | None = None
    """What the function itself raised: pytest shows that, and a debugger goes there."""

    @property
    def subject(self) -> Subject:
        """What its marks say."""
        return self.about

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """Itself, and the entry that it deploys."""
        return (self.about,) if self.entry is None else (self.about, self.entry)

    @property
    def stage(self) -> str:  # type: ignore[override]
        """Its own name in its module."""
        return self.row.partition("::")[2]

    @property
    def has_app(self) -> bool:
        """Whether it has deployed one."""
        return self.state is not None and bool(self.state.deployments)

    @property
    def unit(self) -> PlatformTest:
        """Itself."""
        return self

    @property
    def unit_key(self) -> str:
        """Its node id: functions of a module needn't run on one target."""
        return self.nodeid

    @property
    def alone(self) -> bool:
        """Whether it wants a target that nobody used before, and nobody uses after it."""
        return self.about.alone or (self.entry is not None and self.entry.alone)

    # --- pytest's phases ----------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Let the lab make the target fit; the fixtures are a part of the test itself."""
        self.result, self._raised, self.has_traceback = None, None, False
        if LAB not in self.config.stash:
            super().setup()
        else:
            self.config.stash[LAB].enter(self)

    def runtest(self) -> None:
        """Run it on this process's target; raises what the function raised, unless the lab is at fault."""
        __tracebackhide__ = True
        said: BaseException | None = None
        try:
            super().runtest()
        except (Headline, KeyboardInterrupt) as told:
            said = told
        if self._raised is not None and (self.result is None or self.result["status"] != "error"):
            self.has_traceback = True
            raise self._raised
        if said is not None:
            raise said

    def teardown(self) -> None:
        """Remove what it deployed; its other fixtures are gone by now."""
        if LAB in self.config.stash:
            self.config.stash[LAB].leave(self)

    def clean_up(self, equipment: Equipment, state: UnitState) -> None:
        """Remove its apps, the last one first; raises `InfraError` when something of one stays."""
        self.bench = None
        for beside in reversed(state.beside):
            equipment.clean_up(beside)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """As pytest shows it; what the lab raised on purpose is shown as the headline."""
        if isinstance(excinfo.value, Headline | StageFailure):
            return str(excinfo.value)
        return pytest.Function.repr_failure(self, excinfo)

    # --- on the target ------------------------------------------------------------------------------------------------

    def work(self, equipment: Equipment, state: UnitState, observe: Observer) -> None:
        """Set up the fixtures and call the function; see `CatalogItem.work`.

        Whatever it raises is told by `StageFailure`s, which the classifier understands.
        """
        deadline = time.monotonic() + self.about.timeout_s
        self.bench = Bench(equipment, state, observe, deadline=deadline, config=self.config, test=self.path)
        try:
            with within(self.about.timeout_s, self.config):
                self._request._fillfixtures()
                pytest.Function.runtest(self)
                self._end_fixtures()
        except (InfraError, StageFailure, RequirementMissing) as failure:
            self._tell(failure, observe)
            raise
        except pytest.skip.Exception as skipped:
            raise RequirementMissing(str(skipped.msg)) from skipped
        except KeyboardInterrupt:
            raise
        except pytest.exit.Exception as end:
            self._raised = end
            raise KeyboardInterrupt from end
        except BaseException as error:  # pytest's own outcomes are no Exceptions, nor is SystemExit
            self._raised = error
            self._tell(error, observe)
            raise self._failure(error) from error

    def _end_fixtures(self) -> None:
        """Tear its own fixtures down while it is still a test: what fails in there fails it.

        After a failure that is left to pytest, so that the bundle shows what the test saw. Its apps stand until then.
        """
        finalizers, _ = self.session._setupstate.stack[self]
        while len(finalizers) > 1:  # the first one is `teardown`
            finalizers.pop()()

    def _failure(self, error: BaseException) -> StageFailure:
        where, said = place_of(error, self.path, self.config.rootpath), said_by(error)
        if isinstance(error, NoAnswer):
            step, request, within_s = error.asked or (1, "a request", None)
            late = within_s if error.kind == "timeout" else None
            return CheckFailed(step, request, "an answer", f"no answer ({error.kind}) at {where}", deadline_s=late)
        if isinstance(error, AssertionError | pytest.fail.Exception):
            return AssertionFailed(where, said)
        return TestRaised(where, type(error).__name__, said)

    def _tell(self, error: BaseException, observe: Observer) -> None:
        """Keep the traceback: what pytest prints of a night is not what people come back to."""
        shown = self._repr_failure_py(pytest.ExceptionInfo.from_exception(error), style="long")
        observe.write("traceback", f"{shown}\n")

    # --- marks --------------------------------------------------------------------------------------------------------

    def foresaw(self, verdict: Verdict) -> str | None:
        """A failure that `xfail` names passes, but for one of the lab's."""
        if isinstance(self._raised, pytest.xfail.Exception):
            return f"failed as expected: {self._raised.msg}"
        xfailed = None if self.config.option.runxfail else self.stash.get(xfailed_key, None)
        if not xfailed or self._raised is None or verdict.failure_class is FailureClass.INFRA:
            return None
        if xfailed.raises is not None and not _is_one(self._raised, xfailed.raises):
            return None
        return f"failed as expected: {xfailed.reason}".removesuffix(": ")

    def missed(self) -> str | None:
        """Passing is a failure where a strict `xfail` stands."""
        xfailed = None if self.config.option.runxfail else self.stash.get(xfailed_key, None)
        return f"[XPASS(strict)] {xfailed.reason}".rstrip() if xfailed and xfailed.strict else None


def _is_one(error: BaseException, wanted: Any) -> bool:
    matches = getattr(wanted, "matches", None)  # pytest.RaisesExc
    return bool(matches(error)) if matches is not None else isinstance(error, wanted)


# --- collecting -------------------------------------------------------------------------------------------------------


def spread(metafunc: pytest.Metafunc) -> None:
    """Have a function that asks for one of the lab's fixtures run on each image, where there are several."""
    places = metafunc.config.stash[SEEN].places
    if len(places) > 1 and fixtures.asked_for(metafunc.definition):
        metafunc.fixturenames.append(fixtures.IMAGE)
        images = [place.image for place in places]
        metafunc.parametrize(fixtures.IMAGE, images, ids=images, indirect=True)


def adopt(item: Any) -> Any:
    """A collected function as a test of the catalog, if it asks for one of the lab's fixtures; else as it is.

    Raises `pytest.Collector.CollectError` for marks that can't be read.
    """
    if type(item) is not pytest.Function or not fixtures.asked_for(item):
        return item
    callspec = getattr(item, "callspec", None)
    adopted: PlatformTest = PlatformTest.from_parent(
        item.parent,
        name=item.name,
        originalname=item.originalname,
        callspec=callspec,
        fixtureinfo=item._fixtureinfo,
        keywords=None if callspec is None else {callspec.id: True},
    )
    places = {place.image: place for place in item.config.stash[SEEN].places}
    adopted.put(places.get(_params(item).get(fixtures.IMAGE, ""), next(iter(places.values()))))
    adopted.about = _about(adopted)
    for mark in (adopted.about.suite, adopted.about.priority):
        adopted.add_marker(mark.value)
    adopted.extra_keyword_matches.update(adopted.about.tags)
    return adopted


def _about(item: PlatformTest) -> About:
    where = item.nodeid.partition("::")[0]
    with _told_at(item):
        check_place(item.path, where)
        fields: dict[str, Any] = {}
        for mark in reversed(list(item.iter_markers(MARK))):
            fields |= _read(mark)
        if fixtures.is_ours(item, "app") and "app" not in fields and "app" not in _params(item):
            raise readers.Refused(
                f'it asks for the fixture app, and nothing says which: @pytest.mark.{MARK}(app="NAME"), the name of an '
                "entry or a path to its folder"
            )
        return About(name=Path(where).stem.removeprefix("test_").removesuffix("_test"), **fields)


def _params(item: pytest.Function) -> Mapping[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def _read(mark: pytest.Mark) -> dict[str, Any]:
    if mark.args:
        raise readers.Refused(f"the mark takes keywords only: {', '.join(_READERS)}")
    fields = {}
    for key, value in mark.kwargs.items():
        if key not in _READERS:
            raise readers.Refused(f"{key}: {readers.unknown(key, _READERS)}")
        name, read = _READERS[key]
        try:
            fields[name] = read(value)
        except readers.Refused as refused:
            raise readers.Refused(f"{key}: {refused}") from None
    return fields


def _listed(given: Any) -> Any:
    return list(given) if isinstance(given, tuple | set | frozenset) else given


@contextlib.contextmanager
def _told_at(item: PlatformTest) -> Iterator[None]:
    try:
        yield
    except (readers.Refused, CatalogError) as error:
        file, line, _ = item.location
        place = f"{os.fspath(file)}:{(line or 0) + 1}: " if isinstance(error, readers.Refused) else ""
        raise pytest.Collector.CollectError(f"{place}{item.name}: {error}") from None


def settle(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Find the entries that the platform tests among the items name, and add every file they stand on to the digest.

    Raises `pytest.UsageError` for an entry that isn't there.
    """
    for item in items:
        if isinstance(item, PlatformTest):
            named = _params(item).get("app", item.about.app) if fixtures.is_ours(item, "app") else item.about.app
            try:
                item.entry = None if named is None else find_entry(config, str(named), item.path.parent)
            except UsageError as error:
                raise pytest.UsageError(f"{item.nodeid}: {error}") from None
            _digest(config, item)


def _digest(config: pytest.Config, item: PlatformTest) -> None:
    seen = config.stash[SEEN]
    conftests = (folder / "conftest.py" for folder in item.path.parents if folder.is_relative_to(config.rootpath))
    own = () if item.entry is None else (item.entry.file,)
    for file in (item.path, *conftests, *own):
        if file not in seen.files and file.is_file():
            seen.files.add(file)
            seen.digest.update(file.read_bytes())
