"""The format of a lab.toml, table by table, and what is read from it."""

from __future__ import annotations

import difflib
import os
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_testlab.catalog import readers, values
from pytest_testlab.catalog.read import parse_toml, problems, read_bytes
from pytest_testlab.catalog.readers import Convert, KeyPath, Refused
from pytest_testlab.catalog.tables import Schema, TableReader
from pytest_testlab.errors import CatalogError, UsageError
from pytest_testlab.labfile.due import check_cron
from pytest_testlab.options import OPTIONS, Option
from pytest_testlab.plugins import nearest

FIRST = "nightly"
"""What the schedule is called that stands in [schedule] itself."""
OVERLAPS = ("refuse", "wait")
PLAYED = tuple(
    option for option in OPTIONS if option.flag and not option.secret and option.name not in ("mode", "follow", "on")
)
"""The settings that a schedule can give its session; its mode is `nightly`, its store and home are the server's."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What is played when."""

    name: str
    cron: str
    zone: str
    """A name of the IANA's, e.g. `Europe/Berlin`."""
    catalog: tuple[str, ...]
    """Paths as given; relative ones are below the file's folder."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Values of the session's settings, by the names of `pytest_testlab.options`."""
    arguments: tuple[str, ...] = ()
    """Of pytest's own."""
    overlap: str = "refuse"
    """What a night does while another one still runs: `refuse` or `wait`."""
    catch_up_s: float = 6 * 3600.0
    """How long after its time a night that was missed is still begun; 0 = never."""
    keep_logs: int = 60
    keep_logs_days: int = 60


@dataclass(frozen=True, kw_only=True)
class LabFile:
    """All that a lab.toml says."""

    file: Path
    schedules: tuple[Schedule, ...] = ()
    server: Mapping[str, Any] = field(default_factory=dict)
    """What `testlab serve` takes, by the names of its flags: `host`, `port`, `url`."""

    @property
    def folder(self) -> Path:
        """Where the file lies, which is where its nights are played."""
        return self.file.parent

    def schedule(self, name: str | None) -> Schedule:
        """The schedule of a name, None = the only or first one; raises `UsageError` when there is none."""
        if not self.schedules:
            raise UsageError(f"{self.file} has no [schedule]")
        names = [schedule.name for schedule in self.schedules]
        if name is None:
            return self.schedules[names.index(FIRST) if FIRST in names else 0]
        if name not in names:
            raise UsageError(f"{self.file}: no schedule is called {name!r}{nearest(name, names)}")
        return self.schedules[names.index(name)]


def read_lab_file(file: Path) -> LabFile:
    """Read a lab.toml; raises `CatalogError`, which is a `UsageError`, with all of its problems."""
    file = file.absolute()
    document, text = parse_toml(file, read_bytes(file))
    reader = LabReader(file)
    found = reader.read(document)
    if reader.faults:
        raise CatalogError(problems(file, text, reader.faults))
    return found


def is_there(path: str, folder: Path) -> bool:
    """Whether a catalog of a schedule is there; of one with `::` the file."""
    return os.path.exists(folder / path.partition("::")[0])  # noqa: PTH110  False also where nobody may look


# --- readers ---------------------------------------------------------------------------------------------------------


@readers.says(**{**readers.said(readers.line), "pattern": r"^\s*(\S+\s+){4}\S+\s*$"})
def _cron(value: Any) -> str:
    cron = " ".join(readers.line(value).split())
    try:
        check_cron(cron)
    except ValueError as error:
        raise Refused(f"{readers.shown(cron)} {_joined(str(error))}") from None
    return cron


def _joined(why: str) -> str:
    return why if why.startswith(("has ", "is ")) else f"is not allowed: {why}"


@readers.says(**readers.said(readers.line))
def _zone(value: Any) -> str:
    name = readers.line(value)
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        close = difflib.get_close_matches(name, zoneinfo.available_timezones(), n=1)
        hint = f'; did you mean "{close[0]}"?' if close else ""
        raise Refused(
            f"{readers.shown(name)} is no time zone{hint} (allowed: names as Europe/Berlin, or UTC)"
        ) from None
    return name


@readers.says(anyOf=[{"const": "no"}, readers.said(values.duration)])
def _catch_up(value: Any) -> float:
    return 0.0 if value == "no" else values.duration(value)


@readers.says(**readers.said(readers.line))
def _argument(value: Any) -> str:
    argument = readers.line(value)
    if argument.startswith("--testlab"):
        raise Refused(f"{readers.shown(argument)} belongs to the lab; write it as a key of its own")
    return argument


def _played(option: Option) -> Convert[str]:
    """A reader of a setting's value: a string as on the command line, a number or a list where that is meant."""
    counts = (option.default or "").isdecimal()
    listed = readers.many(readers.line, 20, least=1)
    ways = [readers.said(readers.line), readers.said(listed), *([{"type": "integer"}] if counts else [])]

    @readers.says(anyOf=ways)
    def read(value: Any) -> str:
        if type(value) is int and counts:
            given = str(value)
        elif type(value) is list:
            given = ",".join(listed(value))
        else:
            given = readers.line(value)
        try:
            option.parse(given)
        except ValueError as error:
            raise Refused(str(error)) from None
        return given

    return read


def key_of(option: Option) -> str:
    """The key of a setting in [schedule]."""
    return option.name.replace("_", "-")


SERVER: Schema = {
    "host": ("host", readers.matching(r"[A-Za-z0-9.:_-]{1,253}", "an address or a name of this machine")),
    "port": ("port", readers.integer(0, 65_535)),
    "url": ("url", readers.matching(r"https?://[^/?#\s]{1,253}/?", "http[s]://name[:port]")),
}
OWN: Schema = {
    "cron": ("cron", _cron),
    "time-zone": ("zone", _zone),
    "catalog": ("catalog", readers.many(readers.line, 100, least=1)),
    "arguments": ("arguments", readers.many(_argument, 100)),
    "overlap": ("overlap", readers.one_of(OVERLAPS, str)),
    "catch-up": ("catch_up_s", _catch_up),
    "keep-logs": ("keep_logs", readers.integer(1, 10_000)),
    "keep-logs-days": ("keep_logs_days", readers.integer(1, 3650)),
}
SESSION: Schema = {key_of(option): (option.name, _played(option)) for option in PLAYED}
SCHEDULE: Schema = {**OWN, **SESSION}
NEEDED = ("cron", "time-zone", "catalog")
TABLES = ("schedule", "server")
_name = readers.matching(r"[a-z][a-z0-9-]{0,39}", "1 to 40 of a-z, 0-9 and -, first a letter")
NAME: str = readers.said(_name)["pattern"]
"""What a schedule may be called."""


class LabReader(TableReader):
    """Reads the tables of one lab.toml."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def read(self, document: dict[str, Any]) -> LabFile:
        """What the file says, as far as it holds; `faults` has the rest."""
        for key in document:
            if key not in TABLES:
                self._fault((key,), readers.unknown(key, TABLES))
        server = self._part(document, "server", SERVER) if "server" in document else {}
        return LabFile(file=self._file, schedules=tuple(self._schedules(document.get("schedule"))), server=server)

    def _schedules(self, given: Any) -> list[Schedule]:
        if given is None or (table := self._value(("schedule",), readers.table, given)) is None:
            return []
        named = {key: value for key, value in table.items() if type(value) is dict and key not in SCHEDULE}
        own = {key: value for key, value in table.items() if key not in named}
        found = [self._schedule(("schedule",), FIRST, own)] if own or not named else []
        for name, inner in named.items():
            if self._value(("schedule", name), _name, name) is not None:
                if found and name == FIRST:
                    self._fault(("schedule", name), f"[schedule] itself is called {FIRST} already")
                found.append(self._schedule(("schedule", name), name, inner))
        return [schedule for schedule in found if schedule is not None]

    def _schedule(self, at: KeyPath, name: str, given: dict[str, Any]) -> Schedule | None:
        before = len(self.faults)
        for need in NEEDED:
            if need not in given:
                self._fault(at, f"{need} is missing")
        own = self._table(at, {key: value for key, value in given.items() if key not in SESSION}, OWN)
        options = self._table(at, {key: value for key, value in given.items() if key in SESSION}, SESSION)
        for number, path in enumerate(own.get("catalog", ())):
            if not is_there(path, self._file.parent):
                self._fault((*at, "catalog", number), f"{readers.shown(path)} isn't there, seen from the file's folder")
        return Schedule(name=name, options=options, **own) if len(self.faults) == before else None

    def _unknown(self, key: str, schema: Schema, _of: str) -> str:
        return readers.unknown(key, SCHEDULE if schema is OWN else schema)
