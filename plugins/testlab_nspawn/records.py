"""What is written beside each host and each snapshot, before anything of it is made and until all of it is gone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from testlab_nspawn import places as files
from testlab_nspawn.places import Places


@dataclass(frozen=True, kw_only=True)
class HostRecord:
    """A host; holds no key."""

    name: str
    id: str
    """Eight hexadecimal digits that name what it has on the machine: `tl-ID` is its network namespace, its end of the
    bridge and its control group."""
    image: str
    digest: str
    """Of the image's recipe."""
    layer: str | None = None
    """The snapshot that it was made from."""
    lower: tuple[str, ...] = ()
    """The folders below its own, the topmost first."""
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    """Without the length of its network's prefix."""
    gateway: str = ""
    epoch: int = 0
    """Counts how often it was made anew."""
    machine_id: str = ""
    word: str = ""
    """Random, in /etc/testlab-epoch of this epoch alone."""
    made: str = ""

    @property
    def unit(self) -> str:
        """What its things on the machine are called."""
        return f"tl-{self.id}"

    @property
    def made_at(self) -> dt.datetime | None:
        """When it was first asked for."""
        return dt.datetime.fromisoformat(self.made) if self.made else None


@dataclass(frozen=True, kw_only=True)
class LayerRecord:
    """A golden snapshot: the upper folder of a host, as it was."""

    name: str
    image: str
    digest: str
    lower: tuple[str, ...]
    """What it stands on, the topmost first; its own folder isn't among them."""
    labels: Mapping[str, str] = field(default_factory=dict)
    made: str = ""
    whole: bool = False
    """Whether it can be used; not while it is being made."""
    removed: bool = False
    """Whether it was given up, and only waits for the hosts that still stand on it."""

    @property
    def made_at(self) -> dt.datetime | None:
        """When it was asked for."""
        return dt.datetime.fromisoformat(self.made) if self.made else None


def now() -> str:
    """For `made`."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def write_host(folder: Path, record: HostRecord) -> None:
    """Put a host's record in place, whole or not at all."""
    files.write_json(folder / "host.json", asdict(record))


def read_host(folder: Path) -> HostRecord | None:
    """A host's record; None when there is none, or nothing that can be read."""
    found = _read(folder / "host.json", HostRecord)
    return found if isinstance(found, HostRecord) else None


def every_host(places: Places) -> Iterator[HostRecord]:
    """All hosts, the half-made ones too."""
    for folder in sorted(places.hosts.glob("[!.]*")):
        record = read_host(folder)
        if record is not None:
            yield record


def write_layer(folder: Path, record: LayerRecord) -> None:
    """Put a snapshot's record in place, whole or not at all."""
    files.write_json(folder / "layer.json", asdict(record))


def read_layer(folder: Path) -> LayerRecord | None:
    """A snapshot's record; None when there is none, or nothing that can be read."""
    found = _read(folder / "layer.json", LayerRecord)
    return found if isinstance(found, LayerRecord) else None


def every_layer(places: Places) -> Iterator[LayerRecord]:
    """All snapshots, those that only wait for their last host too."""
    for folder in sorted(places.layers.glob("[!.]*")):
        record = read_layer(folder)
        if record is not None:
            yield record


def _read(file: Path, kind: type[HostRecord] | type[LayerRecord]) -> HostRecord | LayerRecord | None:
    words: dict[str, Any] | None = files.read_json(file)
    if words is None:
        return None
    try:
        return kind(**{**words, "lower": tuple(words.get("lower", ()))})
    except TypeError:
        return None
