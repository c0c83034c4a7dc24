"""Numbers, moments and names as people read them."""

from __future__ import annotations

import datetime as dt
import os.path
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

ENTRY_FILE = "testlab.toml"


@dataclass(frozen=True, kw_only=True)
class TestName:
    """A test's id in the parts that a reader needs: what, which stage of it, and where it is written."""

    __test__ = False

    title: str
    stage: str
    path: str


def name_of(test: str, entry: str = "") -> TestName:
    """`apps/cal/testlab.toml::install` of the entry radicale → radicale, install, apps/cal; cal where none is known.

    `docs/first-app.md::tutorial` → its entry's name or first-app, docs/first-app.md.
    """
    file, _, name = test.partition("::")
    path = PurePosixPath(file)
    if path.name == ENTRY_FILE:
        return TestName(title=entry or path.parent.name or file, stage=name, path=str(path.parent))
    if path.suffix == ".md":
        return TestName(title=entry or path.stem, stage="", path=file)
    return TestName(title=name or file, stage="", path=file)


def telling(headline: Sequence[str], failure_class: str | None) -> list[str]:
    """A headline for a place that shows the class and the rule beside it: without both."""
    lines = [line for line in headline if not line.startswith("rule: ")]
    prefix = f"{failure_class}: " if failure_class else ""
    return [line.removeprefix(prefix) for line in lines[:1]] + lines[1:]


def target_name(name: str | None, run: str) -> str:
    """A target's name inside its run's page: `target 0` for `<run>-0`; a dash for None."""
    if name is None:
        return "—"
    slot = name.removeprefix(f"{run}-")
    return name if slot == name else f"target {slot}"


def common_folder(tests: Iterable[str]) -> str:
    """The folder that all of these tests' paths begin with, with its slash; empty where there is none.

    What every line of a list would repeat needs no place in it.
    """
    paths = {name_of(test).path for test in tests}
    folder = os.path.commonpath(paths) if len(paths) > 1 and not any(map(os.path.isabs, paths)) else ""
    return f"{folder}/" if folder else ""


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`; a dash for None."""
    if seconds is None:
        return "—"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


PHASES = (
    *("start", "collect", "provision", "install", "blank"),  # of a run
    *("upload", "addons", "build", "deploy", "ready", "step", "check", "diagnose"),  # of an attempt
    *("prepare", "block"),  # of a tutorial; its teardown comes last
    *("close", "teardown", "total"),  # of a run
)
"""Phases in the order in which they come; the store keeps none."""


def in_order(phases: Mapping[str, float]) -> dict[str, float]:
    """Phases as they came: the known ones first, those of one kind (`check: …`) by name, others last."""
    known = {name: place for place, name in enumerate(PHASES)}

    def place(name: str) -> tuple[int, str]:
        return known.get(name.partition(":")[0], len(known)), name

    return {name: phases[name] for name in sorted(phases, key=place)}


def size(count: int) -> str:
    """Bytes in the unit that keeps it short: `812 B`, `3.4 KB`, `26 KB`, `1.2 MB`."""
    if count < 1000:
        return f"{count} B"
    for unit, scale in (("KB", 1_000), ("MB", 1_000_000)):
        value = count / scale
        if value < 1000:
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return f"{count / 1_000_000_000:.1f} GB"


def moment(at: dt.datetime | None) -> str:
    """`Sat 21 Nov 02:31`, in the server's own time zone; with the year where it isn't this one."""
    if at is None:
        return "—"
    local = at.astimezone()
    year = "" if local.year == dt.datetime.now(dt.UTC).astimezone().year else f" {local.year}"
    return f"{local:%a} {local.day} {local:%b}{year} {local:%H:%M}"


def ago(at: dt.datetime | None, now: dt.datetime | None = None) -> str:
    """`just now`, `4 min ago`, `3 h ago`, `12 days ago`; a dash for None."""
    if at is None:
        return "—"
    seconds = ((now or dt.datetime.now(dt.UTC)) - at).total_seconds()
    if seconds < 60:
        return "just now"
    for limit, scale, unit in ((3600, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds // scale:.0f} {unit} ago"
    return f"{seconds // 86400:.0f} days ago"


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 test`, `3 tests`."""
    return f"{count} {one if count == 1 else many or one + 's'}"
