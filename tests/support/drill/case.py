"""One case of the drill as plain values: what is hit, where, when and how."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

POINTS = (
    "collection",
    "provisioning",
    "upload",
    "build",
    "check",
    "collecting",
    "journal",
    "store",
    "finish",
    "migration",
)
"""Where a session can be hit: `collecting` is that of the bundle, `store` lies between the journal and the store."""
RANDOM = "random"
"""Not at a point but at a moment, whatever goes on then."""
CONTROLLER, WORKER, TARGET = "controller", "worker", "target"
VICTIMS = (CONTROLLER, WORKER, TARGET)
GUARD = "guard"
"""What a local target's SSH server hangs on."""
REAPER = "reaper"
"""`testlab reap`, at work after a run."""
CLOUD = "cloud"
"""The one that servers come from: something goes wrong there, and nobody is killed."""
RECOVERY = "recovery"
"""`testlab recover`, at work after the controller was killed too."""
POSTGRES = "postgres"
"""The store's own server, embedded in the session's home; somebody starts it again a little later."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One session with one thing done to it."""

    number: int
    point: str
    victim: str
    act: str = "kill -9"
    """`kill -9`, `SIGTERM`, `SIGINT`, `SIGINT twice`, `SIGSTOP`, `cut SSH`, `store away`, `torn tail`, …"""
    provider: str = "local"
    pool: int = 2
    nth: int = 1
    """At which passing of the point, counted over all processes of the session."""
    when: str = "before"
    """`before` the real call at the point, `after` it, or `during`: `delay_s` after it began."""
    delay_s: float = 0.0
    """For `during`: seconds after the call began; for a random moment: after the session had said who it is. Else how
    long something lasts, or until it is done again."""
    beside: bool = False
    """The point is passed by a second session on the same home, and the first one's victim is hit."""
    addon: bool = False
    """Whether an app of the catalog has a PostgreSQL of its own."""
    fault: str = ""
    """What the cloud does wrong meanwhile, one of `pool_plan.FAULTS`; "" = nothing."""
    hosts: str = "loopback"
    """What a cloud's servers are: `loopback`, folders of this machine, or `nspawn`, where it can have such hosts."""
    home: str = "recover"
    """How a killed run is brought home: `recover`, `command` (`testlab recover`) or `next start`."""

    @property
    def kills(self) -> bool:
        """Whether it is a `kill -9`."""
        return self.act in ("kill -9", "torn tail")

    @property
    def say(self) -> str:
        """The case in a line."""
        moment = f"{self.delay_s:.2f} s in" if self.point == RANDOM else f"{self.when} no. {self.nth}"
        beside = ", from beside" if self.beside else ""
        fault = f", {self.fault}" if self.fault and self.fault != self.act else ""
        hosts = f" on {self.hosts}" if self.hosts != "loopback" else ""
        return (
            f"{self.number}: {self.act} of the {self.victim} at {self.point} "
            f"({moment}{beside}{fault}; {self.provider}{hosts}, pool {self.pool}, then {self.home})"
        )

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Case:
        """What `to_json` made."""
        return cls(**json.loads(text))


@dataclass(kw_only=True)
class Verdict:
    """What became of a case; each list holds lines that say what is wrong, and is empty when all is well."""

    number: int
    struck: bool = False
    """Whether the victim was there to be hit."""
    seconds: float = 0.0
    lost: list[str] = dataclasses.field(default_factory=list)
    """Finished results that the store doesn't have."""
    doubled: list[str] = dataclasses.field(default_factory=list)
    """Results that count twice."""
    leaked: list[str] = dataclasses.field(default_factory=list)
    """Where the marker secret was found."""
    orphans: list[str] = dataclasses.field(default_factory=list)
    """Processes and servers that outlived the run."""
    left: list[str] = dataclasses.field(default_factory=list)
    """What is still there of a cloud's servers, keys and addresses, and of hosts, after the reaper has been."""
    wrong: list[str] = dataclasses.field(default_factory=list)
    """Anything else that is not as promised: the state, an outcome that is missing, a session that hangs."""
    folder: str = ""

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.leaked or self.orphans or self.left or self.wrong)

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)
