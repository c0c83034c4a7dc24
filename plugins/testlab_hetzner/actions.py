"""Waits for actions of all servers in one poll: one thread, one request for up to 25 of them, ever longer pauses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_testlab.errors import InfraError
from testlab_hetzner.machines import Step
from testlab_hetzner.times import Times

CHUNK = 25
"""Actions that one request asks for."""
LATE = 0.75
"""The share of the time waited so far until the next look: how late, at most, an end is seen."""
Look = Callable[[Sequence[int]], Mapping[int, Step]]


class ActionFailed(InfraError):
    """An action ended in an error; `command` is the API's name for it."""

    def __init__(self, what: str, step: Step) -> None:
        super().__init__(f"{what}: the action {step.command} failed: {step.why}")
        self.command = step.command


class ActionOverdue(InfraError):
    """An action didn't end in time."""


@dataclass(kw_only=True)
class _Watch:
    """One who waits, for steps that are carried out one after the other."""

    steps: dict[int, Step]
    began: float
    first_s: float
    due: float
    trouble: str = ""
    """Why the last look at its actions saw nothing."""

    def open(self) -> list[int]:
        """What isn't known to have ended, the last step first."""
        return [number for number, step in reversed(self.steps.items()) if not step.over]

    def failed(self) -> Step | None:
        return next((step for step in self.steps.values() if step.status == "error"), None)

    @property
    def over(self) -> bool:
        """Whether one failed, or the last one ended well, which none does before those that it follows."""
        return self.failed() is not None or not self.steps or next(reversed(self.steps.values())).over


class Actions:
    """The actions that anybody waits for. The thread is there only as long as somebody does."""

    def __init__(self, look: Look, times: Times) -> None:
        """`look` returns what is known of these actions, and raises `InfraError`."""
        self._look = look
        self._times = times
        self._turn = threading.Condition()
        self._watches: list[_Watch] = []
        self._polling = False
        self._turns = 0

    def wait(self, what: str, steps: Iterable[Step], *, within_s: float, boots: bool = False) -> None:
        """Return when all have ended well; raises `ActionFailed` as soon as one hasn't, or `ActionOverdue`.

        The steps are carried out in their order: when the last one has ended well, all have. `boots`: a server does,
        which is not worth a look for a while.
        """
        now, first_s = time.monotonic(), self._times.first_boot_poll if boots else self._times.first_poll
        watch = _Watch(steps={step.id: step for step in steps}, began=now, first_s=first_s, due=now + first_s)
        with self._turn:
            self._watches.append(watch)
            if not watch.over:
                self._start()
            try:
                ended = self._turn.wait_for(lambda: watch.over, within_s)
            finally:
                self._watches.remove(watch)
                self._turn.notify_all()
        failed = watch.failed()
        if failed is not None:
            raise ActionFailed(what, failed)
        if not ended:
            raise ActionOverdue(f"{what}: not done within {within_s:g} s: {_standing(watch)}")

    def _start(self) -> None:
        if not self._polling:
            self._polling = True
            threading.Thread(target=self._poll, name="testlab-hetzner-actions", daemon=True).start()
        self._turn.notify_all()

    # --- on the thread ------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        while (ids := self._next()) is not None:
            try:
                seen, trouble = self._look(ids), ""
            except InfraError as error:
                seen, trouble = {}, str(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it and not hang
                seen, trouble = {}, f"{type(error).__name__}: {error}"
            with self._turn:
                self._take_in(ids, seen, trouble)
                self._turn.notify_all()

    def _next(self) -> list[int] | None:
        """The actions to ask for once somebody is due; None when nobody waits any more."""
        with self._turn:
            while waiting := [watch for watch in self._watches if not watch.over]:
                pause = min(watch.due for watch in waiting) - time.monotonic()
                if pause <= 0:
                    return self._choose(waiting)
                self._turn.wait(pause)
            self._polling = False
            return None

    def _choose(self, waiting: Sequence[_Watch]) -> list[int]:
        """The last step of each, those first that are due first; in the room that is left, the others by turns."""
        ordered = sorted(waiting, key=lambda watch: watch.due)
        last = [watch.open()[0] for watch in ordered]
        rest = [number for watch in ordered for number in watch.open()[1:]]
        self._turns += 1
        at = self._turns * (CHUNK // 2) % len(rest) if rest else 0
        return list(dict.fromkeys(last + rest[at:] + rest[:at]))[:CHUNK]

    def _take_in(self, ids: Sequence[int], seen: Mapping[int, Step], trouble: str) -> None:
        now = time.monotonic()
        for watch in self._watches:
            asked = [number for number in watch.steps if number in ids]
            if not asked:
                continue
            watch.steps.update({number: seen[number] for number in asked if number in seen})
            watch.trouble = trouble
            pause = max(watch.first_s, (now - watch.began) * LATE)
            watch.due = now + min(pause, self._times.longest_poll)


def _standing(watch: _Watch) -> str:
    open_ = [step for step in watch.steps.values() if not step.over]
    say = ", ".join(f"{step.command} is at {step.progress} %" for step in open_)
    return f"{say}; {watch.trouble}" if watch.trouble else say
