"""Finds and kills what runs on a local target, from /proc: by descent, and by a mark in the environment.

The SSH server of a target and its guard are child subreapers, so that daemons stay their descendants however often they
forked; the mark finds what outlived both. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MARK = "TESTLAB_TARGET"
"""Set in the environment of whatever runs on a target, to the target's own random word."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_S = 0.1
"""Between two looks at all processes of the machine; that those known have ended is noticed at once."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process as /proc shows it; `started` tells it from a later one with the same number."""

    pid: int
    parent: int
    started: int
    """Clock ticks after boot."""


def become_subreaper() -> None:
    """Orphaned descendants become children of this process from now on; raises `OSError`."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hear_of_parents_death(number: signal.Signals) -> None:
    """Be sent a signal when the parent ends; one that is gone already is to be noticed otherwise. Raises `OSError`."""
    _prctl(_PR_SET_PDEATHSIG, number)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def look_up(pid: int) -> Process | None:
    """A live process, None for none or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in b"ZX":
        return None
    return Process(pid=pid, parent=int(fields[1]), started=int(fields[19]))


def all_processes() -> dict[int, Process]:
    """Every live process that /proc shows to this user."""
    found = (look_up(int(name)) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - 3x faster
    return {process.pid: process for process in found if process is not None}


def descendants(ancestor: int, among: dict[int, Process]) -> list[Process]:
    """What descends from a process, itself excluded."""
    children: dict[int, list[Process]] = {}
    for process in among.values():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    parents = [ancestor]
    while parents:
        born = children.get(parents.pop(), [])
        found += born
        parents += [process.pid for process in born]
    return found


def marked(word: str, among: dict[int, Process]) -> list[Process]:
    """What carries a target's mark. Processes whose environment this user may not read are not found so."""
    wanted = f"{MARK}={word}\0".encode()
    found = []
    for process in among.values():
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            content = Path(f"/proc/{process.pid}/environ").read_bytes()
            if content.startswith(wanted) or b"\0" + wanted in content:
                found.append(process)
    return found


def on_target(server_pid: int | None, word: str) -> list[Process]:
    """All that runs on a target, its SSH server excluded."""
    among = all_processes()
    found = {process.pid: process for process in marked(word, among)}
    if server_pid is not None:
        found |= {process.pid: process for process in descendants(server_pid, among)}
        found.pop(server_pid, None)
    found.pop(os.getpid(), None)
    return list(found.values())


def send(process: Process, number: signal.Signals) -> None:
    """Signal just this process, never a later one that was given its number; gone already = done."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        handle = os.pidfd_open(process.pid)
        try:
            if is_alive(process):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def is_alive(process: Process) -> bool:
    """Whether just this process still runs, whoever its parent is by now."""
    now = look_up(process.pid)
    return now is not None and now.started == process.started


def _gone(these: list[Process], within_s: float) -> None:
    """Wait until all of them have ended, or the time is up."""
    ends = time.monotonic() + within_s
    with contextlib.ExitStack() as handles:
        waited: dict[int, Process] = {}
        poll = select.poll()
        for process in these:
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(process.pid)
                handles.callback(os.close, handle)
                if is_alive(process):  # else its number is another's by now
                    waited[handle] = process
                    poll.register(handle, select.POLLIN)
        while waited and (left := ends - time.monotonic()) > 0:
            for handle, _ in poll.poll(left * 1000):
                poll.unregister(handle)
                del waited[handle]


def kill_all(find: Callable[[], list[Process]], *, grace_s: float, within_s: float) -> tuple[int, list[Process]]:
    """Ask whatever `find` finds to end, then kill it, until nothing is found or the time is up.

    Returns how many there were, and those that are left. New ones that appear meanwhile are killed at once.
    """
    started = time.monotonic()
    left = find()
    seen = {process.pid for process in left}
    for process in left:
        send(process, signal.SIGTERM)
    while left and (spent := time.monotonic() - started) < within_s:
        _gone(left, _LOOK_S if spent >= grace_s else min(_LOOK_S, grace_s - spent))
        left = find()
        fresh = [process for process in left if process.pid not in seen]
        late = time.monotonic() - started >= grace_s
        for process in left if late else fresh:
            send(process, signal.SIGKILL)
        seen |= {process.pid for process in fresh}
    return len(seen), left
