"""The watchdog tells a worker that hangs from one that was stopped together with the controller."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from pytest_testlab.distribution.watchdog import SILENT_S, STALLED_S, START_S, Watchdog


class Node:
    """As much of a worker as the watchdog looks at."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.testlab_heard = time.monotonic() - SILENT_S - 5
        self.testlab_beats = True
        self.gateway = SimpleNamespace(_io=SimpleNamespace(popen=process))
        self.why: list[str] = []


@pytest.fixture
def node() -> Iterator[Node]:
    """A worker that has said nothing for too long."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield Node(process)
        process.kill()


def test_a_silent_worker_is_condemned(node: Node) -> None:
    """Once, with how long it said nothing."""
    dog = Watchdog(lambda of, why: of.why.append(why))
    dog._awake_since -= 2 * SILENT_S
    dog.look([node])
    dog.look([node])
    assert node.why == ["the worker said nothing for 35 s"]


def test_one_that_is_being_started_has_more_time(node: Node) -> None:
    """A busy machine, or a large catalog: nothing is heard of a worker until it has collected."""
    dog = Watchdog(lambda of, why: of.why.append(why))
    node.testlab_beats = False
    dog._awake_since -= 2 * START_S
    dog.look([node])
    assert node.why == []
    node.testlab_heard -= START_S
    dog.look([node])
    assert node.why == ["the worker said nothing for 335 s"]


def test_after_a_pause_nobody_is(node: Node) -> None:
    """Ctrl-Z stopped all of them: each has its whole time again after fg, and no more."""
    dog = Watchdog(lambda of, why: of.why.append(why))
    dog._awake_since -= 2 * SILENT_S
    dog._looked_at -= STALLED_S + 1
    dog.look([node])
    assert node.why == []
    dog._awake_since -= SILENT_S + 1
    dog.look([node])
    assert node.why == ["the worker said nothing for 31 s"]
