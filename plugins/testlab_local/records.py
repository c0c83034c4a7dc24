"""A file for each target, from before it is made until it is gone: so that any process can find it, and the reaper."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pytest_testlab.labels import expires_at
from pytest_testlab.labels import is_kept as is_kept_by
from testlab_local.processes import Process


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a target. Holds no key: those stay in memory."""

    name: str
    run: str
    word: str
    """Its mark in the environment of whatever runs on it."""
    user: str
    folder: str
    epoch: int = 0
    port: int = 0
    """Of its SSH server; 0 while that is still being started."""
    ports: str = ""
    """For apps, "20001-20019"."""
    pid: int = 0
    """Of its SSH server."""
    started: int = 0
    """Clock ticks after boot when that started; tells it from a later process with the same number."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """As it was made; `labels_of` knows what was written since."""
    created: float = 0.0
    """Seconds since 1970."""

    @property
    def process(self) -> Process:
        """Its SSH server, alive or not."""
        return Process(pid=self.pid, parent=0, started=self.started)


def file_of(base: Path, name: str) -> Path:
    """Where a target's record is; a target's own folder never starts with a dot."""
    return base / ".records" / f"{name}.json"


def log_of(base: Path, name: str) -> Path:
    """The log of a target's SSH server."""
    return base / ".records" / f"{name}.log"


def write(base: Path, record: Record) -> None:
    """Put a record in place, whole or not at all."""
    file = file_of(base, record.name)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(asdict(record)))
    draft.replace(file)


def read(base: Path, name: str) -> Record | None:
    """A target's record; None when there is none, or nothing that can be read."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Record(**json.loads(file_of(base, name).read_text()))
    return None


def every(base: Path) -> Iterator[Record]:
    """The records of all runs of this lab."""
    for file in sorted((base / ".records").glob("*.json")):
        record = read(base, file.stem)
        if record is not None:
            yield record


def labels_of(base: Path, record: Record) -> dict[str, str]:
    """A target's labels by now."""
    return {**record.labels, **_written(base, record)}


def is_kept(base: Path, record: Record) -> bool:
    """Whether a target that is there is to outlive its run, and has not expired yet."""
    now = read(base, record.name)
    if now is None or now.word != record.word:
        return False
    labels = labels_of(base, now)
    until = expires_at(labels)
    return is_kept_by(labels) and until is not None and until.timestamp() > time.time()


def write_labels(base: Path, record: Record, labels: Mapping[str, str]) -> None:
    """Set some of a target's labels. They lie in a file of their own: others write the record."""
    file = _labels_file(base, record.name)
    draft = file.with_name(f"{file.name}-{os.getpid()}-{threading.get_ident()}")
    draft.write_text(json.dumps({"word": record.word, **_written(base, record), **labels}))
    draft.replace(file)


def _written(base: Path, record: Record) -> dict[str, str]:
    """What was set since it was made; nothing of an earlier target of the name."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        written: dict[str, str] = json.loads(_labels_file(base, record.name).read_text())
        if written.pop("word") == record.word:
            return written
    return {}


def _labels_file(base: Path, name: str) -> Path:
    return base / ".records" / f"{name}.labels"


def forget(base: Path, name: str) -> None:
    """Remove a target's record, labels and log; gone already = done."""
    file_of(base, name).unlink(missing_ok=True)
    _labels_file(base, name).unlink(missing_ok=True)
    log_of(base, name).unlink(missing_ok=True)
