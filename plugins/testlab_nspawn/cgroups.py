"""A host's control groups: what keeps its processes apart, and how all of them are found, whoever their parent is.

Where systemd is this machine's PID 1, groups are its own, and a host is a unit of it (`tl-ID.service`) with a group
that was delegated to it. Elsewhere they are made here, below the root of each hierarchy, of whichever version.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from pytest_testlab.errors import InfraError

_CONTROLLERS = {"name=systemd", "memory", "pids", "cpu"}
KILL_WITHIN_S = 10.0
_POLL_S = 0.005


def systemd_rules() -> bool:
    """Whether systemd is this machine's PID 1."""
    return Path("/run/systemd/system").is_dir()


def hierarchies() -> list[Path]:
    """Where control groups are mounted, of those that a host needs."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and _CONTROLLERS & set(options.split(","))):
            found.append(Path(before.split(" ")[4]))
    return list(dict.fromkeys(found))


def folders(unit: str) -> list[Path]:
    """A host's groups that are there, in each hierarchy."""
    places = [top / part for top in hierarchies() for part in (unit, f"system.slice/{unit}.service")]
    return [place for place in places if place.is_dir()]


def make(unit: str) -> list[Path]:
    """Make a host's groups, where systemd doesn't; returns their `cgroup.procs`. Raises `InfraError`."""
    found = []
    for top in hierarchies():
        group = top / unit
        try:
            group.mkdir(exist_ok=True)
        except OSError as error:
            raise InfraError(f"{group}: can't be made: {error.strerror}") from error
        found.append(group / "cgroup.procs")
    return found


def processes(unit: str) -> set[int]:
    """All processes of a host, and what runs it."""
    found: set[int] = set()
    for group in folders(unit):
        for inner, _, _ in os.walk(group):
            with contextlib.suppress(OSError):  # gone meanwhile
                found |= {int(word) for word in (Path(inner) / "cgroup.procs").read_text().split() if word != "0"}
    return found


def init(unit: str) -> int | None:
    """A host's PID 1, as this machine numbers it; None when it doesn't run."""
    for pid in sorted(processes(unit)):
        with contextlib.suppress(OSError):  # gone meanwhile
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("NSpid:") and len(line.split()) > 2 and line.split()[-1] == "1":
                    return pid
    return None


def kill(unit: str) -> int:
    """Kill all processes of a host and see them gone; returns how many there were. Raises `InfraError`.

    To kill systemd-nspawn alone would leave the host running.
    """
    seen: set[int] = set()
    deadline = time.monotonic() + KILL_WITHIN_S
    while left := processes(unit):
        if time.monotonic() > deadline:
            raise InfraError(f"{unit}: processes that can't be killed: {', '.join(map(str, sorted(left)[:5]))}")
        for pid in left:
            _kill(pid, unit)
        seen |= left
        time.sleep(_POLL_S)
    return len(seen)


def signal_init(unit: str, number: int) -> bool:
    """Send a signal to a host's PID 1; False when it doesn't run."""
    pid = init(unit)
    return pid is not None and _send(pid, unit, number)


def remove(unit: str) -> None:
    """Remove a host's groups, which must be empty; gone already = done. Raises `InfraError`."""
    deadline = time.monotonic() + KILL_WITHIN_S
    for group in folders(unit):
        while group.exists():
            for inner, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):  # the kernel needs a moment after the last process
                    Path(inner).rmdir()
            if group.exists() and time.monotonic() > deadline:
                raise InfraError(f"{group}: can't be removed")
            time.sleep(_POLL_S if group.exists() else 0)


def _kill(pid: int, unit: str) -> None:
    _send(pid, unit, signal.SIGKILL)


def _send(pid: int, unit: str, number: int) -> bool:
    """Signal just this process: never a later one that was given its number."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if unit not in Path(f"/proc/{pid}/cgroup").read_text():
            return False
        signal.pidfd_send_signal(handle, number)
    except (OSError, ProcessLookupError):
        return False
    finally:
        os.close(handle)
    return True
