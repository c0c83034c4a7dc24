"""A session with one target runs in this very process, so that --pdb works."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import pytest

from pytest_testlab.catalog.follow import Follow, followed
from pytest_testlab.catalog.install import InstallItem
from pytest_testlab.catalog.items import LAB, CatalogItem, Unit, describe, given_secrets, missing_secrets
from pytest_testlab.catalog.lab import Lab
from pytest_testlab.distribution import private
from pytest_testlab.errors import InfraError
from pytest_testlab.pool.pool import SlotState
from pytest_testlab.session.assemble import hidden_values, make_lab, secret_source
from pytest_testlab.session.controller import EXIT_NOT_BLANK, READY_WITHIN_S, Controller


class Aborted(pytest.exit.Exception):  # type: ignore[name-defined, misc]  # pytest has it as an attribute of a function
    """Ends the session. pytest's last line has its name and its words: the reason stands above, in the summary."""

    __module__ = "builtins"  # so that the line begins with the name alone


class Local(Controller):
    """Controller and worker at once."""

    lab: Lab
    fresh = True
    """Whether the target was blanked since its last unit."""
    was_alone = False
    """Whether its last unit wanted it for itself."""
    image = ""
    """What the target is made from."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        """Make the target ready, then let pytest run its own loop."""
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            return (yield)  # pytest itself refuses to go on
        tests = describe(session.items)
        if missing := missing_secrets(session.items, secret_source(self.settings, self.secrets)):
            raise pytest.UsageError(missing)
        follow, unknown = followed(self.settings.follow, tests)
        if unknown:
            raise pytest.UsageError(unknown)
        self.run.begin([item.nodeid for item in session.items], tests)
        self.lab = session.config.stash[LAB] = make_lab(
            self.run.hooks,
            self.settings,
            folders={book.image: str(book.folder.path) for book in self.run.books},
            provider=self.settings.provider,
            platform=self.run.platform_name,
            slot=0,
            worker="worker-0",
            secrets=self.secrets,
            clock=self.run.moments.base,
            hidden=hidden_values(self.settings),
        )
        self.lab.learn(given_secrets(session.items, self.lab.secrets))
        self.lab.before_unit = self._before_unit
        self.lab.lost = self._lost
        self.lab.follow = Follow(tests=follow, tell=self.progress.followed)
        self.board.ask = self.lab.doing
        self.lab.interrupts = self.interrupts
        self.interrupts.hold()
        self._session = session
        try:
            if tests:
                self.image = tests[0]["image"]
                self._take_target(install=not self._installs(tests))
            return (yield)
        finally:
            self.lab.end()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run a test, and once more after an infrastructure fault, on its target made blank or anew."""
        if not isinstance(item, CatalogItem):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._go_to(item)
        if isinstance(nextitem, CatalogItem) and nextitem.place != item.place:
            nextitem = private.sentinel(item.session)  # what both stand on is of another target then
        private.run_phases(item, nextitem)
        while item.result is not None and item.result["again"] and not self.interrupts.asked:
            self.lab.attempts[item.nodeid] = self.lab.attempts.get(item.nodeid, 0) + 1
            private.tear_down(item.session, private.sentinel(item.session))
            private.run_phases(item, nextitem)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if isinstance(item, InstallItem) and item.result is not None and item.result["status"] in ("passed", "flaky"):
            self.run.pool.slots[0].install_s = item.result["phases"].get("install")
            self._freeze()
        return True

    def pytest_runtest_logfinish(self) -> None:
        """Stop when somebody asked to, the disk or the budget is spent; what was not run is counted as such."""
        if self.lab.full:
            self.run.can_not_record(self.lab.full)
        if self.run.unrecorded:
            self._session.shouldstop = self.run.unrecorded
        elif self.interrupts.asked:
            self._session.shouldstop = "interrupted"
        elif time.monotonic() > self.run.deadline and len(self.run.results) < len(self.run.tests):
            self._session.shouldfail = self.run.say = "the budget is spent"

    def _broke_off(self, session: pytest.Session) -> bool:
        return bool(session.shouldfail or session.shouldstop) and not self.run.say

    def _kill_workers(self) -> None:
        """There are none."""

    def _installs(self, tests: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the platform is installed by a test, on the image that it is at."""
        return any(test["first"] and test["image"] == self.image for test in tests)

    def _go_to(self, item: CatalogItem) -> None:
        """Have a target of the item's image."""
        if item.place.image != self.image:
            self.image = item.place.image
            self.run.pool.change_image(self.run.pool.slots[0], self.image)
            self._take_target(install=not self._installs(list(self.run.tests.values())))
            self.fresh, self.was_alone = True, False

    def _lost(self) -> str:
        slot = self.run.pool.slots[0]
        return slot.say if slot.fenced else ""

    def _before_unit(self, unit: Unit) -> None:
        if self.image in self.lab.blocked_by:
            return
        slot = self.run.pool.slots[0]
        if slot.state is SlotState.LOST:
            self._abort(slot.say)
        apart = self.run.provider.blank_between_units or unit.alone or self.was_alone
        if not self.fresh and (apart or self.lab.spoiled or slot.failed):
            self.run.pool.blank(slot)
            self._take_target(install=not isinstance(unit, InstallItem))
        self.fresh, self.was_alone = False, unit.alone
        self.run.pool.busy(slot)

    def _freeze(self) -> None:
        """Have a golden snapshot made of the target, if one is wanted, while nothing but the platform is on it."""
        slot = self.run.pool.slots[0]
        if self.run.pool.wants_snapshot(slot):
            self.run.pool.freeze(slot)
            self.lab.close()
            self._take_target(install=True)
            self.fresh = True

    def _take_target(self, *, install: bool) -> None:
        slot = self.run.pool.slots[0]
        try:
            with self.interrupts.allowed():
                server = self.run.pool.wait_ready(slot, READY_WITHIN_S)
            start = time.monotonic()
            self.lab.use(server, install=install)
            if install:
                slot.install_s = time.monotonic() - start
                slot.spent("install", slot.install_s)
            self.board.usable(0, server.epoch)
            self._freeze()
        except InfraError as error:
            if slot.state is not SlotState.LOST:
                self.run.pool.lose(slot, str(error))
            self._abort(str(error))

    def _abort(self, why: str) -> NoReturn:
        self.run.aborted = f"no proven blank target: {why}"
        raise Aborted(f"no proven blank target, exit code {EXIT_NOT_BLANK}", returncode=EXIT_NOT_BLANK) from None
