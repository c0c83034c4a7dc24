"""Which cases a drill consists of, by its seed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

from drill.case import CONTROLLER, GUARD, POINTS, POSTGRES, RANDOM, RECOVERY, TARGET, VICTIMS, WORKER, Case

EACH = 4
"""`kill -9`s of each victim at each point."""
MOMENTS = 10
"""`kill -9`s of each victim at random moments."""
HOMES = ("recover", "command", "next start")
OTHERS: tuple[tuple[str, str, str, int], ...] = (
    ("kill -9", GUARD, RANDOM, 6),
    ("kill -9", RECOVERY, RANDOM, 6),
    ("kill -9", POSTGRES, RANDOM, 4),
    ("SIGSTOP", WORKER, RANDOM, 4),
    ("SIGTERM", CONTROLLER, RANDOM, 6),
    ("SIGTERM", WORKER, RANDOM, 6),
    ("SIGINT", CONTROLLER, RANDOM, 8),
    ("SIGINT twice", CONTROLLER, RANDOM, 6),
    ("cut SSH", WORKER, "build", 4),
    ("cut SSH", WORKER, "check", 4),
    ("cut SSH", WORKER, "collecting", 3),
    ("store away", CONTROLLER, "store", 6),
    ("store away", CONTROLLER, "journal", 4),
    ("torn tail", CONTROLLER, "journal", 6),
    ("torn tail", CONTROLLER, RANDOM, 6),
)
"""What is done, to whom, where, and how often."""
PASSINGS = {"build": 3, "check": 4, "collecting": 4, "upload": 3, "journal": 12, "store": 4, "collection": 4}
"""How often a point is passed at least; one that isn't named: once."""
NEVER_OWN = {("collection", TARGET), ("migration", TARGET), ("migration", WORKER)}
"""Where a session has no such victim yet: that of another session is hit, from beside."""


def full(seed: int) -> list[Case]:
    """All cases, in an order that mixes slow and fast ones."""
    chance = random.Random(seed)
    cases = list(_kills(chance)) + list(_others(chance))
    chance.shuffle(cases)
    return [dataclasses.replace(case, number=number) for number, case in enumerate(cases, 1)]


def short(seed: int) -> list[Case]:
    """A dozen: every victim, every point, most of them on the provider that is fast."""
    chance = random.Random(seed)
    fast: dict[str, Any] = {"provider": "memory"}
    wanted = [
        ("collection", CONTROLLER, fast),
        ("provisioning", CONTROLLER, {}),
        ("upload", WORKER, {}),
        ("build", TARGET, {}),
        ("check", CONTROLLER, fast),
        ("collecting", WORKER, fast),
        ("journal", WORKER, fast),
        ("journal", CONTROLLER, {**fast, "act": "torn tail"}),
        ("store", CONTROLLER, fast),
        ("finish", CONTROLLER, fast),
        ("migration", CONTROLLER, fast),
        (RANDOM, TARGET, {}),
    ]
    cases = [dataclasses.replace(_case(chance, point, victim), **more) for point, victim, more in wanted]
    return [dataclasses.replace(case, number=number) for number, case in enumerate(cases, 1)]


def _kills(chance: random.Random) -> Iterator[Case]:
    for victim in VICTIMS:
        for point in POINTS:
            for _ in range(EACH):
                yield _case(chance, point, victim)
        for _ in range(MOMENTS):
            yield _case(chance, RANDOM, victim)


def _others(chance: random.Random) -> Iterator[Case]:
    for act, victim, point, times in OTHERS:
        for _ in range(times):
            case = dataclasses.replace(_case(chance, point, victim), act=act)
            if act in ("cut SSH", "store away"):
                case = dataclasses.replace(case, when="before")
            if act == "cut SSH":
                case = dataclasses.replace(case, provider="local")
            if act == "store away":
                case = dataclasses.replace(case, delay_s=chance.uniform(0.5, 3.0))
            yield case


def _case(chance: random.Random, point: str, victim: str) -> Case:
    beside = (point, victim) in NEVER_OWN
    real = victim in (TARGET, GUARD) or point == "upload" or beside or chance.random() < 0.4
    provider = "local" if real else "memory"
    when = chance.choice(("before", "during", "after"))
    if point == "provisioning" and victim == TARGET:
        when = "after"
    if point == "finish" and victim == TARGET:
        when = "before"
    if point == "provisioning" and victim == WORKER and when == "during":
        when = "before"
    longest = {"memory": 1.2, "local": 4.5}[provider] if point == RANDOM else 0.05
    return Case(
        number=0,
        point=point,
        victim=victim,
        provider=provider,
        pool=1 if victim == CONTROLLER and chance.random() < 0.2 else 2,
        nth=1 if beside else chance.randint(1, PASSINGS.get(point, 1)),
        when=when,
        delay_s=chance.uniform(0.0, longest),
        beside=beside,
        addon=provider == "local" and chance.random() < 0.15,
        home=RECOVERY if victim == RECOVERY else chance.choice(HOMES) if victim == CONTROLLER else "recover",
    )
