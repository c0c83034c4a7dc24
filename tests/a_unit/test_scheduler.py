"""The pull scheduler, driven as xdist drives it; the nodes write down what they are sent."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytest_testlab.distribution.scheduler import PullScheduler
from pytest_testlab.planning.units import Unit
from pytest_testlab.pool.pool import Pool, Slot
from pytest_testlab.testing import MemoryProvider

TESTS = [f"{name}::{stage}" for name in "abc" for stage in ("install", "check")]
UNITS = [Unit(key=name, indices=(2 * i, 2 * i + 1), estimate_s=3.0 - i) for i, name in enumerate("abc")]


class Line:
    """The controller's end of a line to a worker."""

    def __init__(self, slot: int) -> None:
        self.workerinput: dict[str, Any] = {"testlab": {"slot": slot}}
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.down = False
        self.dead = False

    @property
    def shutting_down(self) -> bool:
        return self.down

    def sendcommand(self, name: str, **kwargs: Any) -> None:
        if self.dead:
            raise OSError("cannot send (already closed?)")
        self.sent.append((name, kwargs))

    def shutdown(self) -> None:
        self.down = True

    @property
    def given(self) -> list[list[int]]:
        return [fields["indices"] for name, fields in self.sent if name == "testlab_run"]


class Notes:
    """Takes down what the scheduler finds out."""

    def __init__(self) -> None:
        self.says: list[str] = []
        self.on_disk: dict[str, bool] = {}
        self.voided: list[str] = []
        self.strangers: set[str] = set()

    def wrong_catalog(self, node: Any) -> None:
        self.says.append("wrong catalog")

    def lost(self, slot: Slot, say: str) -> None:
        self.says.append(f"lost {slot.index}: {say}")

    def recorded(self, node: Any, test: str) -> bool | None:
        return self.on_disk.get(test)

    def void(self, node: Any, test: str) -> bool:
        self.voided += [test] if test in self.on_disk else []
        return test in self.on_disk

    def blocked(self, tests: Sequence[str], *, by: str, failure_class: str = "infra") -> None:
        why = "" if failure_class == "infra" else f" ({failure_class})"
        self.says.append(f"blocked by {by}{why}: {', '.join(tests)}")

    def is_retried(self, test: str) -> bool:
        return test not in self.strangers

    def ended(self, reason: str) -> None:
        self.says.append(f"ended: {reason}")


class Blanking(MemoryProvider):
    """Like a real server: must be blanked between units."""

    blank_between_units = True


class Rig:
    """A scheduler with a real pool and as many lines."""

    def __init__(
        self, size: int = 2, *, blanking: bool = False, budget_s: float = 60.0, images: tuple[str, ...] = ()
    ) -> None:
        self.heard: list[tuple[str, int, str]] = []
        self.pool = Pool(
            Blanking() if blanking else MemoryProvider(),
            run="r",
            size=size,
            image="",
            changed=lambda slot, at: self.heard.append((slot.image, slot.index, slot.state)),
        )
        self.notes = Notes()
        self.scheduler = PullScheduler(self.pool, self.notes, deadline=time.monotonic() + budget_s, attempts={})
        self.pool.start(size, images)
        self.lines = [Line(index) for index in range(size)]
        for slot in self.pool.slots:
            self.pool.wait_ready(slot, 60)

    def up(self) -> Rig:
        for line in self.lines:
            self.scheduler.add_node(line)
            self.scheduler.add_node_collection(line, TESTS)
        self.scheduler.plan(deque(UNITS))
        return self

    def usable(self, *lines: Line) -> None:
        for line in lines or self.lines:
            self.scheduler.usable(line, line.sent[-1][1]["server"]["epoch"])

    def replaced(self) -> Line:
        """A new worker in the place of the only one, which died; its target is blank and usable again."""
        line = Line(0)
        self.lines = [line]
        self.scheduler.add_node(line)
        self.scheduler.add_node_collection(line, TESTS)
        self.pool.wait_ready(self.pool.slots[0], 60)
        self.scheduler.slot_changed(self.pool.slots[0])
        self.usable()
        return line

    def through(self, line: Line, seconds: float = 0) -> None:
        for index in line.given[-1]:
            self.scheduler.mark_test_complete(line, index, seconds)
        self.scheduler.idle(line)


def test_nothing_is_given_out_before_the_target_is_usable() -> None:
    """A worker gets its target first, and tests only once it said that the target can take them."""
    rig = Rig().up()
    assert [line.sent[0][0] for line in rig.lines] == ["testlab_use", "testlab_use"]
    assert [line.given for line in rig.lines] == [[], []]
    rig.usable(rig.lines[0])
    assert [line.given for line in rig.lines] == [[[0, 1]], []]


def test_units_are_pulled_one_at_a_time_longest_first() -> None:
    """Nobody holds a unit that somebody free could run."""
    rig = Rig().up()
    rig.usable()
    assert [line.given for line in rig.lines] == [[[0, 1]], [[2, 3]]]
    rig.through(rig.lines[1])
    assert rig.lines[1].given == [[2, 3], [4, 5]]
    assert not rig.scheduler.tests_finished
    rig.through(rig.lines[0])
    assert not rig.scheduler.tests_finished
    rig.through(rig.lines[1])
    assert rig.scheduler.tests_finished


def test_a_worker_that_died_unnoticed_costs_no_session() -> None:
    """It is given what it can't hear any more; once its end is known, that goes to another."""
    rig = Rig().up()
    rig.usable()
    first, second = rig.lines
    first.dead = True
    rig.through(first)
    assert rig.scheduler.remove_node(first) == TESTS[4]
    rig.through(second)
    assert second.given[-1] == [4, 5]


def test_a_used_target_is_blanked_before_its_next_unit() -> None:
    """Where isolation asks for it, the next unit waits for a new epoch."""
    rig = Rig(1, blanking=True).up()
    line, slot = rig.lines[0], rig.pool.slots[0]
    rig.usable()
    rig.through(line)
    assert len(line.given) == 1
    rig.pool.wait_ready(slot, 60)
    rig.scheduler.slot_changed(slot)
    assert line.sent[-1][1]["server"]["epoch"] == 1
    rig.scheduler.usable(line, 0)
    assert len(line.given) == 1, "an answer about the old epoch must not count"
    rig.usable()
    assert line.given[-1] == [2, 3]


def test_a_worker_with_another_collection_gets_nothing() -> None:
    """Work travels as indices, so a different collection would run other tests."""
    rig = Rig()
    for line in rig.lines:
        rig.scheduler.add_node(line)
    rig.scheduler.add_node_collection(rig.lines[0], TESTS)
    rig.scheduler.add_node_collection(rig.lines[1], TESTS[:-1])
    rig.scheduler.plan(deque(UNITS))
    rig.usable()
    assert rig.lines[1].given == []
    assert rig.lines[1].down
    assert rig.notes.says == ["wrong catalog"]


def test_a_dead_workers_unit_is_tried_once_more() -> None:
    """What a dead worker held goes back to the front of the queue, and a unit that kills twice is dropped."""
    rig = Rig(1).up()
    rig.usable()
    assert rig.scheduler.remove_node(rig.lines[0]) == "a::install"
    second = rig.replaced()
    assert second.given == [[0, 1]]
    assert rig.scheduler.remove_node(second) == "a::install"
    assert rig.notes.says == ["blocked by a::install: a::check"]
    third = rig.replaced()
    assert third.given == [[2, 3]]


def test_a_second_try_is_made_elsewhere() -> None:
    """A unit that met an infrastructure fault waits for another slot, and the spoiled target is made blank first."""
    rig = Rig().up()
    first, second = rig.lines
    rig.usable()
    rig.scheduler.idle(first, left=[0, 1], again=True, spoiled=True)
    rig.pool.wait_ready(rig.pool.slots[0], 60)
    rig.scheduler.slot_changed(rig.pool.slots[0])
    rig.usable(first)
    assert first.given == [[0, 1], [4, 5]], "the unit after the barred one"
    rig.through(first)
    assert not rig.scheduler.tests_finished
    rig.through(second)
    assert second.given == [[2, 3], [0, 1]]
    assert second.sent[-1][1]["attempts"] == {"a::install": 1}
    rig.through(second)
    assert rig.scheduler.tests_finished


def test_a_lone_slot_gets_its_own_unit_again() -> None:
    """A pool of which one slot is left blanks that and goes on."""
    rig = Rig().up()
    first = rig.lines[0]
    rig.usable(first)
    rig.scheduler.idle(first, left=[0, 1], again=True, spoiled=True)
    rig.pool.lose(rig.pool.slots[1], "gone")
    rig.scheduler.slot_changed(rig.pool.slots[1])
    rig.pool.wait_ready(rig.pool.slots[0], 60)
    rig.scheduler.slot_changed(rig.pool.slots[0])
    rig.usable(first)
    assert first.given[-1] == [0, 1]


def test_a_dead_workers_last_word_counts() -> None:
    """A test whose result is on disk isn't run again; what follows it is."""
    rig = Rig(1).up()
    rig.usable()
    rig.notes.on_disk = {"a::install": False}
    assert rig.scheduler.remove_node(rig.lines[0]) is None
    second = rig.replaced()
    assert second.sent[-1] == ("testlab_run", {"indices": [1], "attempts": {}})


def test_what_a_worker_says_once_its_target_is_anothers_does_not_count() -> None:
    """Its unit is tried elsewhere as a whole, also what it had got through with meanwhile."""
    rig = Rig().up()
    first, second = rig.lines
    rig.usable()
    rig.pool.slots[0].fenced = True
    rig.pool.lose(rig.pool.slots[0], "its lease was lost")
    rig.scheduler.slot_changed(rig.pool.slots[0])
    rig.through(first)
    assert not rig.scheduler.tests_finished
    rig.notes.on_disk = {"a::check": False}
    assert rig.scheduler.remove_node(first) == "a::install"
    assert rig.notes.voided == ["a::check"]
    rig.through(second)
    assert second.given == [[2, 3], [0, 1]]
    assert second.sent[-1][1]["attempts"] == {"a::install": 1, "a::check": 1}


def test_what_a_dead_worker_held_goes_to_one_that_waits() -> None:
    """Nothing else may happen any more that has work given out."""
    rig = Rig().up()
    first, second = rig.lines
    rig.usable()
    rig.pool.slots[0].fenced = True
    rig.pool.lose(rig.pool.slots[0], "its lease was lost")
    rig.scheduler.slot_changed(rig.pool.slots[0])
    rig.through(second)
    rig.through(second)
    assert second.given == [[2, 3], [4, 5]]
    rig.scheduler.remove_node(first)
    assert second.given == [[2, 3], [4, 5], [0, 1]]


def test_an_interrupt_reaches_every_worker() -> None:
    """And nothing more is given out."""
    rig = Rig().up()
    rig.usable(rig.lines[0])
    rig.scheduler.interrupt()
    assert [line.sent[-1][0] for line in rig.lines] == ["testlab_stop", "testlab_stop"]
    rig.scheduler.idle(rig.lines[0], left=[1])
    assert rig.scheduler.tests_finished


def test_losing_every_target_ends_the_run_with_the_reasons() -> None:
    """No blank target, no run."""
    rig = Rig().up()
    for slot in rig.pool.slots:
        rig.pool.lose(slot, f"boot failed on {slot.index}")
        rig.scheduler.slot_changed(slot)
    assert rig.notes.says[-1] == "ended: no target is left: boot failed on 0; boot failed on 1"
    assert rig.scheduler.tests_finished


def test_the_budget_stops_giving_out() -> None:
    """After the budget nothing more is given out; what runs is let finish."""
    rig = Rig(1, budget_s=-1).up()
    rig.usable()
    assert rig.lines[0].given == []
    assert rig.notes.says == ["ended: the budget is spent"]
    assert rig.scheduler.tests_finished


def test_a_worker_beyond_the_collection_waits_idle() -> None:
    """More targets than units is no reason to end early, nor to hang."""
    rig = Rig(4).up()
    rig.usable()
    assert [len(line.given) for line in rig.lines] == [1, 1, 1, 0]
    for line in rig.lines[:3]:
        rig.through(line)
    assert rig.scheduler.tests_finished


# --- units that want a target for themselves, and the one that comes before all ---------------------------------------

INSTALL = Unit(key="platform::install", indices=(0,), estimate_s=1.0, first=True)
ALONE = Unit(key="b", indices=(2, 3), estimate_s=2.0, alone=True)


def night(rig: Rig, units: Sequence[Unit]) -> Rig:
    """As in a session: the plan is there before any target is."""
    rig.scheduler.collection = list(TESTS)
    rig.scheduler.plan(deque(units))
    for line in rig.lines:
        rig.scheduler.add_node(line)
        rig.scheduler.add_node_collection(line, TESTS)
    return rig


def again(rig: Rig, line: Line) -> None:
    """The pool has made a line's server blank, and its worker has taken it."""
    slot = rig.pool.slots[line.workerinput["testlab"]["slot"]]
    rig.pool.wait_ready(slot, 60)
    rig.scheduler.slot_changed(slot)
    rig.usable(line)


def installs(line: Line) -> list[bool]:
    return [fields["install"] for name, fields in line.sent if name == "testlab_use"]


def test_the_install_comes_first_and_on_a_bare_target() -> None:
    """One worker is left without a platform, and runs that unit; nothing else begins before its end."""
    rig = night(Rig(2), [INSTALL, UNITS[1], UNITS[2]])
    first, second = rig.lines
    assert (installs(first), installs(second)) == ([False], [True])
    rig.usable()
    assert (first.given, second.given) == ([[0]], [])
    rig.through(first)
    assert (first.given, second.given) == ([[0], [2, 3]], [[4, 5]])


def test_a_second_try_at_the_install_is_from_scratch_elsewhere() -> None:
    """Another target is made blank for it, though the platform stands there already."""
    rig = night(Rig(2), [INSTALL, UNITS[1]])
    first, second = rig.lines
    rig.usable()
    rig.scheduler.idle(first, left=[0], again=True, spoiled=True)
    assert second.given == []
    again(rig, second)
    assert (installs(second), second.given) == ([True, False], [[0]])
    rig.through(second)
    assert second.given == [[0], [2, 3]]


def test_the_install_moves_on_when_its_worker_is_out() -> None:
    """A worker that was kept bare, and is lost, doesn't hold up the night."""
    rig = night(Rig(2), [INSTALL, UNITS[1]])
    second = rig.lines[1]
    rig.usable(second)
    rig.pool.lose(rig.pool.slots[0], "no line")
    rig.scheduler.slot_changed(rig.pool.slots[0])
    again(rig, second)
    assert (installs(second), second.given) == ([True, False], [[0]])


def test_what_stands_on_a_failed_install_is_blocked() -> None:
    """Nothing is given out any more, and every test is accounted for."""
    rig = night(Rig(2), [INSTALL, UNITS[1], UNITS[2]])
    rig.usable()
    rig.scheduler.mark_test_complete(rig.lines[0], 0)
    rig.scheduler.block_all(by="platform::install", failure_class="deploy-failure")
    rig.scheduler.idle(rig.lines[0])
    assert rig.notes.says == [
        "blocked by platform::install (deploy-failure): b::install, b::check, c::install, c::check"
    ]
    assert rig.scheduler.tests_finished
    assert rig.lines[1].given == []


def test_a_unit_that_wants_a_target_for_itself() -> None:
    """Its target is made blank before it, unless nobody used that yet, and after it."""
    rig = night(Rig(1), [UNITS[0], ALONE, UNITS[2]])
    line = rig.lines[0]
    rig.usable()
    rig.through(line)
    assert line.given == [[0, 1]], "used: it must be made blank first"
    again(rig, line)
    assert line.given == [[0, 1], [2, 3]]
    rig.through(line)
    assert line.given == [[0, 1], [2, 3]], "and again before the next one"
    again(rig, line)
    assert line.given == [[0, 1], [2, 3], [4, 5]]
    assert rig.pool.slots[0].server is not None
    assert rig.pool.slots[0].server.epoch == 2


def test_a_fresh_target_serves_it_as_it_is() -> None:
    """Nobody waits for a second blanking of what is blank."""
    rig = night(Rig(1), [ALONE])
    rig.usable()
    assert rig.lines[0].given == [[2, 3]]


def test_a_test_of_nobodys_that_kills_its_worker_is_not_tried_again() -> None:
    """As under any pytest-xdist: it has failed, and what was held beside it goes on."""
    rig = Rig(1)
    rig.notes.strangers = {"a::install"}
    rig.up().usable()
    assert rig.scheduler.remove_node(rig.lines[0]) == "a::install"
    rig.lines = [Line(0)]
    rig.scheduler.add_node(rig.lines[0])
    rig.scheduler.add_node_collection(rig.lines[0], TESTS)
    again(rig, rig.lines[0])
    assert rig.lines[0].given == [[1]]


def on(image: str, unit: Unit) -> Unit:
    return replace(unit, image=image)


def imaged(units: list[Unit], *, dealt: str) -> Rig:
    """A rig whose slots were dealt to images of one letter."""
    rig = Rig(len(dealt), images=tuple(dealt))
    rig.scheduler.plan(units)
    for line in rig.lines:
        rig.scheduler.add_node(line)
        rig.scheduler.add_node_collection(line, [*TESTS, "d::install", "d::check"])
    return rig


D = Unit(key="d", indices=(6, 7), estimate_s=1.0)


def test_each_image_has_its_own_queue() -> None:
    """A target gets what is to run on its image, and nothing else."""
    rig = imaged([on("y", UNITS[0]), on("x", UNITS[1]), on("y", UNITS[2])], dealt="xy")
    rig.usable()
    assert [line.given for line in rig.lines] == [[[2, 3]], [[0, 1]]]


def test_a_target_with_nothing_left_goes_over_to_another_image() -> None:
    """Its server is replaced by one of that image, under a new epoch; the old image hears that it is gone."""
    rig = imaged([on("x", UNITS[0]), *(on("y", unit) for unit in (UNITS[1], UNITS[2], D))], dealt="xy")
    rig.usable()
    line, slot = rig.lines[0], rig.pool.slots[0]
    rig.through(line, 1.0)
    rig.pool.wait_ready(slot, 60)
    rig.scheduler.slot_changed(slot)
    assert (slot.image, slot.server is not None and slot.server.image) == ("y", "y")
    assert [fields["server"]["epoch"] for name, fields in line.sent if name == "testlab_use"] == [0, 1]
    assert ("x", 0, "gone") in rig.heard
    rig.usable(line)
    assert line.given == [[0, 1], [4, 5]]


def test_it_stays_when_others_are_through_sooner() -> None:
    """What is left on the other image isn't worth a new server: those that are there get it."""
    rig = imaged([on("x", UNITS[0]), on("y", UNITS[1]), on("y", UNITS[2])], dealt="xy")
    rig.pool.slots[0].spent("install", 3600.0)
    rig.usable()
    rig.through(rig.lines[0], 1.0)
    assert rig.pool.slots[0].image == "x"
    rig.through(rig.lines[1])
    assert rig.lines[1].given == [[2, 3], [4, 5]]


def test_an_image_that_nobody_serves_gets_the_next_target() -> None:
    """However long a new server takes: with fewer targets than images they are worked off one after the other."""
    rig = imaged([on("x", UNITS[0]), on("y", UNITS[1])], dealt="x")
    rig.pool.slots[0].spent("install", 3600.0)
    rig.usable()
    rig.through(rig.lines[0])
    assert not rig.scheduler.tests_finished
    again(rig, rig.lines[0])
    assert rig.lines[0].given == [[0, 1], [2, 3]]
    rig.through(rig.lines[0])
    assert rig.scheduler.tests_finished


def test_each_image_has_its_own_install() -> None:
    """Where it fails, only what stands on it is blocked."""
    units = [on("x", INSTALL), on("x", UNITS[1]), on("y", replace(INSTALL, indices=(1,))), on("y", UNITS[2])]
    rig = imaged(units, dealt="xy")
    first, second = rig.lines
    assert (installs(first), installs(second)) == ([False], [False])
    rig.usable()
    assert (first.given, second.given) == ([[0]], [[1]])
    rig.scheduler.mark_test_complete(first, 0)
    rig.scheduler.block_all(by="platform::install", failure_class="deploy-failure", image="x")
    rig.scheduler.idle(first)
    assert rig.notes.says == ["blocked by platform::install (deploy-failure): b::install, b::check"]
    rig.through(second)
    assert second.given == [[1], [4, 5]]
