"""Actions of many servers are waited for in one poll."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from testlab_hetzner.actions import CHUNK, ActionFailed, ActionOverdue, Actions
from testlab_hetzner.machines import Step
from testlab_hetzner.times import Times

from pytest_testlab.errors import InfraError

TIMES = Times(first_poll=0.02, longest_poll=0.05)
PATIENCE_S = 30.0


class Api:
    """Knows actions; each ends when it has been asked for so often."""

    def __init__(self, looks: int = 3) -> None:
        self.asked: list[Sequence[int]] = []
        self.looks = looks
        self.fails: dict[int, str] = {}
        self.down = 0

    def look(self, ids: Sequence[int]) -> Mapping[int, Step]:
        self.asked.append(ids)
        if self.down:
            self.down -= 1
            raise InfraError("the API is down")
        return {number: self._step(number) for number in ids}

    def _step(self, number: int) -> Step:
        if number in self.fails:
            return Step(id=number, command="start_server", status="error", why=self.fails[number])
        over = sum(number in ids for ids in self.asked) >= self.looks
        return Step(id=number, command="create_server", status="success" if over else "running", progress=40)


def _steps(*numbers: int) -> list[Step]:
    return [Step(id=number, command="create_server") for number in numbers]


def test_forty_servers_share_their_polls() -> None:
    """Two actions each: a request asks for 25, and as few requests are made as would do for one thread alone."""
    api = Api()
    actions = Actions(api.look, TIMES)
    with ThreadPoolExecutor(40) as threads:
        waits = [threads.submit(actions.wait, "it", _steps(2 * n, 2 * n + 1), within_s=PATIENCE_S) for n in range(40)]
        for wait in waits:
            wait.result(PATIENCE_S)
    assert max(map(len, api.asked)) == CHUNK
    assert len(api.asked) < 40


def test_actions_that_are_over_need_no_look() -> None:
    api = Api()
    Actions(api.look, TIMES).wait("it", [Step(id=1, command="x", status="success")], within_s=0)
    assert api.asked == []


def test_a_failed_one_ends_the_wait_at_once() -> None:
    """Also when another one runs on."""
    api = Api(looks=10_000)
    api.fails = {2: "no room (action_failed)"}
    with pytest.raises(ActionFailed, match=r"^it: the action start_server failed: no room \(action_failed\)$"):
        Actions(api.look, TIMES).wait("it", _steps(1, 2), within_s=PATIENCE_S)


def test_one_that_never_ends_is_given_up_in_time() -> None:
    """With how far it came, and nobody polls for it any more."""
    api = Api(looks=10_000)
    for within_s in (0.3, 3.0, 30.0):
        with pytest.raises(ActionOverdue) as late:
            Actions(api.look, TIMES).wait("it", _steps(1), within_s=within_s)
        if len(api.asked) > 1:  # else the machine stalled: nobody came to look in the meantime
            break
    assert str(late.value) == f"it: not done within {within_s:g} s: create_server is at 40 %"
    deadline = time.monotonic() + PATIENCE_S
    while any(thread.name == "testlab-hetzner-actions" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_api_that_is_down_for_a_while_ends_no_wait() -> None:
    api = Api()
    api.down = 3
    Actions(api.look, TIMES).wait("it", _steps(1), within_s=PATIENCE_S)
    assert api.down == 0
