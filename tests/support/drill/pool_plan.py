"""Which cases the drill of a pool consists of, by its seed: kills between intent and delete, and a cloud at fault."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import hostyard
from drill.case import CLOUD, CONTROLLER, POSTGRES, RANDOM, REAPER, RECOVERY, WORKER, Case

KILLS: tuple[tuple[str, str, int], ...] = (
    (CONTROLLER, "intent", 6),
    (CONTROLLER, "create", 6),
    (CONTROLLER, "order", 9),
    (CONTROLLER, "first boot", 6),
    (CONTROLLER, "lease", 6),
    (CONTROLLER, "blank", 6),
    (CONTROLLER, "rebuild", 6),
    (CONTROLLER, "renew", 6),
    (CONTROLLER, "destroy", 6),
    (CONTROLLER, "delete", 9),
    (CONTROLLER, "sweep", 6),
    (CONTROLLER, "finish", 4),
    (CONTROLLER, RANDOM, 12),
    (WORKER, "install", 6),
    (WORKER, "check", 4),
    (WORKER, "journal", 4),
    (WORKER, RANDOM, 8),
    (REAPER, RANDOM, 12),
    (RECOVERY, RANDOM, 4),
    (POSTGRES, "lease", 4),
    (POSTGRES, "blank", 4),
    (POSTGRES, "sweep", 4),
    (POSTGRES, RANDOM, 6),
)
"""Who is killed, where, and how often."""
ON_NSPAWN = (
    (CONTROLLER, "create"),
    (CONTROLLER, "order"),
    (CONTROLLER, "first boot"),
    (CONTROLLER, "rebuild"),
    (CONTROLLER, "destroy"),
    (CONTROLLER, "delete"),
    (CONTROLLER, "sweep"),
    (CONTROLLER, RANDOM),
    (WORKER, "install"),
    (REAPER, RANDOM),
    (RECOVERY, RANDOM),
    (POSTGRES, "lease"),
)
"""Where one of the kills is played with servers that are hosts of systemd-nspawn."""
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "create: answer dropped": {"kind": "drop", "method": "POST", "path": "^/servers$"},
    "delete: answer dropped": {"kind": "drop", "method": "DELETE", "path": "^/servers/"},
    "rebuild: answer dropped": {"kind": "drop", "method": "POST", "path": "/actions/rebuild$"},
    "key: answer dropped": {"kind": "drop", "method": "POST", "path": "^/ssh_keys$"},
    "list: answer dropped": {"kind": "drop", "method": "GET", "path": "^/servers"},
    "423": {"kind": "refuse", "method": "DELETE", "path": "^/servers/", "status": 423, "code": "locked", "times": 3},
    "423 on rebuild": {"kind": "refuse", "path": "/actions/rebuild$", "status": 423, "code": "locked", "times": 2},
    "429": {"kind": "refuse", "status": 429, "code": "rate_limit_exceeded", "times": 4},
    "capacity refused": {"kind": "unavailable", "server_type": "cx23", "times": None},
    "limit reached": {
        "kind": "refuse",
        "method": "POST",
        "path": "^/servers$",
        "status": 403,
        "code": "resource_limit_exceeded",
    },
    "start failed": {"kind": "failed-action", "command": "start_server"},
    "create failed": {"kind": "failed-action", "command": "create_server"},
    "rebuild failed": {"kind": "failed-action", "command": "rebuild_server"},
    "initializing for ever": {"kind": "initializing"},
    "action without end": {"kind": "endless-action", "command": "create_server"},
    "rebuild without end": {"kind": "endless-action", "command": "rebuild_server"},
    "delete that lies": {"kind": "lying-delete", "seconds": 120.0, "times": 2},
    "delete failed": {"kind": "failed-action", "command": "delete_server"},
    "sshd late": {"kind": "late-ssh", "seconds": 100.0},
    "another host key": {"kind": "other-key", "seconds": 100.0},
    "another host key for ever": {"kind": "other-key"},
    "half an hour of 5xx": {"kind": "outage", "seconds": 1800.0},
    "nobody listens": {"kind": "closed", "seconds": 400.0},
}
"""What a cloud can do wrong, in the stand-in's own words."""
EACH_FAULT = 3
TOGETHER = 30
"""Cases in which the controller is killed at a random moment while the cloud is at fault."""
AFTER_SOME = ("429", "list: answer dropped", "half an hour of 5xx", "nobody listens")
"""Faults that may hit any request: a random number of them is let pass before."""
HOMES = ("recover", "command", "next start")


def why_no_nspawn() -> str:
    """Why this machine can have no hosts of systemd-nspawn; "" where it can."""
    if os.geteuid() != 0:
        return "that needs root"
    for program, package in (("systemd-nspawn", "systemd-container"), ("nft", "nftables")):
        if shutil.which(program) is None:
            return f"there is no {program}: install {package}"
    lacking = hostyard.lacking()
    return f"the images {', '.join(lacking)} are still to be made: make images" if lacking else ""


def full(seed: int) -> list[Case]:
    """All cases, in an order that mixes them."""
    chance = random.Random(seed)
    cases = [*_kills(chance), *_faults(chance), *_together(chance)]
    chance.shuffle(cases)
    return [dataclasses.replace(case, number=number) for number, case in enumerate(cases, 1)]


def short(seed: int) -> list[Case]:
    """A handful: a kill at each end of a server's life, and a cloud at fault."""
    chance = random.Random(seed)
    wanted = [
        _kill(chance, CONTROLLER, "order", "after"),
        _kill(chance, CONTROLLER, "delete", "before"),
        _kill(chance, WORKER, "install", "before"),
        _kill(chance, REAPER, RANDOM),
        _fault(chance, "create: answer dropped"),
        _fault(chance, "delete that lies"),
    ]
    return [dataclasses.replace(case, number=number) for number, case in enumerate(wanted, 1)]


def _kills(chance: random.Random) -> Iterator[Case]:
    for victim, point, times in KILLS:
        for number in range(times):
            case = _kill(chance, victim, point, ("before", "during", "after")[number % 3])
            real = number == 1 and (victim, point) in ON_NSPAWN
            yield dataclasses.replace(case, hosts="nspawn") if real else case


def _kill(chance: random.Random, victim: str, point: str, when: str = "before") -> Case:
    longest = 8.0 if point == RANDOM else 0.6 if point in ("create", "first boot", "blank", "destroy") else 0.05
    return Case(
        number=0,
        point=point,
        victim=victim,
        provider="hetzner",
        nth=chance.randint(1, 2) if point in ("intent", "create", "order", "first boot", "lease", "check") else 1,
        when=when,
        delay_s=chance.uniform(0.0, longest),
        home=RECOVERY if victim == RECOVERY else chance.choice(HOMES) if victim == CONTROLLER else "recover",
    )


def _faults(chance: random.Random) -> Iterator[Case]:
    for name in FAULTS:
        for _ in range(EACH_FAULT):
            yield _fault(chance, name)


def _fault(chance: random.Random, name: str) -> Case:
    return Case(
        number=0,
        point=CLOUD,
        victim=CLOUD,
        act=name,
        fault=name,
        provider="hetzner",
        nth=chance.randint(1, 8) if name in AFTER_SOME else 1,
    )


def _together(chance: random.Random) -> Iterator[Case]:
    for _ in range(TOGETHER):
        fault = chance.choice(list(FAULTS))
        yield dataclasses.replace(_kill(chance, CONTROLLER, RANDOM), fault=fault)
