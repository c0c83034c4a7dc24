"""How the stand-in misbehaves when it is told to: what, to whom, how often."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from standin.clock import Clock


class Kind(StrEnum):
    """What goes wrong."""

    DROP = "drop"
    """The request is carried out, and the connection closed in place of an answer."""
    REFUSE = "refuse"
    """The request isn't carried out; the answer is `status` and `code`."""
    OUTAGE = "outage"
    """Every request is answered by `status`, for `seconds`."""
    CLOSED = "closed"
    """Nobody listens, for `seconds`: connections are refused."""
    UNAVAILABLE = "unavailable"
    """A create of this `server_type` in this `location` is refused with `resource_unavailable`."""
    FAILED_ACTION = "failed-action"
    """An action ends in an error with nothing done: `start_server` leaves a server that is off and billed."""
    ENDLESS_ACTION = "endless-action"
    """An action runs for ever, and keeps its server locked."""
    INITIALIZING = "initializing"
    """A server's actions end well, and it stays `initializing` for ever, with nobody at home."""
    LYING_DELETE = "lying-delete"
    """A delete is answered as done, and the server stays for `seconds`."""
    LATE_SSH = "late-ssh"
    """A server's sshd comes `seconds` later."""
    OTHER_KEY = "other-key"
    """A server's sshd shows another host key, for `seconds`."""


@dataclass(kw_only=True)
class Fault:
    """One thing that goes wrong, where all of what is said of it fits. Empty = whatever it is."""

    kind: Kind
    method: str = ""
    path: str = ""
    """A regular expression that is found in `/servers/1/actions/reboot`: the part after `/v1`."""
    command: str = ""
    """Of an action, `start_server`."""
    name: str = ""
    """A regular expression that is found in the server's name."""
    server_type: str = ""
    location: str = ""
    times: int | None = 1
    """How often; None = always."""
    skip: int = 0
    """How many that fit are let pass before."""
    chance: float = 1.0
    """In which share of those that fit, by the stand-in's seed."""
    seconds: float = math.inf
    """In the cloud's time."""
    status: int = 503
    code: str = "unavailable"
    message: str = "the stand-in was told to refuse this"
    until: float = field(default=math.inf, init=False, repr=False)

    def __post_init__(self) -> None:
        self.kind = Kind(self.kind)


def locked(**where: object) -> Fault:
    """A 423, as just after a create."""
    return _refusal(423, "locked", "server is locked", **where)


def rate_limited(**where: object) -> Fault:
    """A 429, whatever the quota says."""
    return _refusal(429, "rate_limit_exceeded", "limit of 3600 requests per hour reached", **where)


def limit_exceeded(**where: object) -> Fault:
    """A create beyond what the project may have."""
    where = {"method": "POST", "path": "^/servers$", **where}
    return _refusal(403, "resource_limit_exceeded", "server limit exceeded", **where)


def _refusal(status: int, code: str, message: str, **where: object) -> Fault:
    return Fault(kind=Kind.REFUSE, status=status, code=code, message=message, **where)  # type: ignore[arg-type]


class Plan:
    """The faults that were ordered, in their order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.struck: dict[Kind, int] = dict.fromkeys(Kind, 0)
        """How often each kind came to pass."""

    def add(self, fault: Fault) -> None:
        """Let it happen from now on."""
        if fault.kind in (Kind.OUTAGE, Kind.CLOSED):
            fault.times, fault.until = None, time.monotonic() + self._clock.ours(fault.seconds)
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Let nothing more go wrong; what did stays so."""
        with self._lock:
            self._faults.clear()

    def left(self) -> list[Fault]:
        """What was ordered and has not come to pass yet, or not often enough."""
        with self._lock:
            return [fault for fault in self._faults if fault.times != 0 and time.monotonic() <= fault.until]

    def take(self, *kinds: Kind, **facts: str) -> Fault | None:
        """The first that fits, counted as done."""
        with self._lock:
            for fault in self._faults:
                if fault.kind in kinds and _fits(fault, facts) and self._due(fault):
                    self.struck[fault.kind] += 1
                    return fault
        return None

    def _due(self, fault: Fault) -> bool:
        if fault.times == 0 or time.monotonic() > fault.until:
            return False
        if fault.skip:
            fault.skip -= 1
            return False
        if not self._clock.chance(fault.chance):
            return False
        if fault.times is not None:
            fault.times -= 1
        return True


_HOW: dict[str, Callable[[str, str], bool]] = {
    "path": lambda wish, is_: re.search(wish, is_) is not None,
    "name": lambda wish, is_: re.search(wish, is_) is not None,
}


def _fits(fault: Fault, facts: dict[str, str]) -> bool:
    for name in ("method", "path", "command", "name", "server_type", "location"):
        wish = getattr(fault, name)
        if wish and not _HOW.get(name, str.__eq__)(wish, facts.get(name, "")):
            return False
    return True
