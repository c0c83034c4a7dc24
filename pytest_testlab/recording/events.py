"""The events of a journal, typed: plain JSON dicts, made here and nowhere else. Moments are ISO 8601 with an offset."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zstandard

from pytest_testlab.model import CollectedSection, FailureClass, Provenance, Status
from pytest_testlab.recording.journal import Event

LEVEL = 3
"""Of zstd: higher ones gain little on logs and cost the target's worker its time."""
Manifest = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class PlannedTest:
    """A test as the plan knows it."""

    test: str
    """Its node id."""
    suite: str
    entry: str
    stage: str
    priority: str = "P1"
    owner: str | None = None
    tags: tuple[str, ...] = ()
    file: str = ""
    """Relative to the catalog."""


def run_started(provenance: Provenance, *, arguments: Mapping[str, Any] | None = None) -> Event:
    """The first event of every journal. `arguments` are the selection as the user gave it; they hold no secrets."""
    event = dataclasses.asdict(provenance)
    event["started_at"] = _moment(provenance.started_at)
    return {"kind": "run_started", **event, "lane": provenance.lane, "arguments": dict(arguments or {})}


def collected(
    tests: Iterable[PlannedTest],
    *,
    selection: str,
    projected_s: float | None = None,
    cost_eur: float | None = None,
) -> Event:
    """The plan, in its order. `selection` is a digest: runs that have the same one selected the same way."""
    planned = [dataclasses.asdict(test) for test in tests]
    numbers = {"projected_s": projected_s, "cost_eur": cost_eur}
    return {"kind": "collected", "tests": planned, "selection": selection, **numbers}


def target_event(
    *, slot: int, name: str, state: str, at: dt.datetime, say: str = "", proof: Mapping[str, str] | None = None
) -> Event:
    """What became of a target; `proof` = how it was proven blank."""
    event = {"kind": "target", "slot": slot, "name": name, "state": state, "at": _moment(at), "say": say}
    return {**event, "proof": dict(proof or {})}


def intent(*, run: str, slot: int, provider: str, name: str, at: dt.datetime, expires_at: dt.datetime | None) -> Event:
    """A provider is about to be asked for a server: from here on there may be one, under this name or the run's label.

    `run` is what that label says: of a session with several images the first of its runs. `expires_at`: from when on a
    reaper may remove it; None where nothing of it outlives the run.
    """
    event = {"kind": "intent", "run": run, "slot": slot, "provider": provider, "name": name, "at": _moment(at)}
    return {**event, "expires_at": _moment(expires_at) if expires_at else None}


def provisioning(*, slot: int | None, at: dt.datetime, say: str) -> Event:
    """What a provider tries for a slot, or what is left to read of its server; lines, already masked.

    None = it is of no slot in particular.
    """
    return {"kind": "provisioning", "slot": slot, "at": _moment(at), "say": say}


def started(*, test: str, attempt: int, slot: int, target: str, at: dt.datetime) -> Event:
    """An attempt at a test began; attempts count from 1."""
    return {"kind": "started", "test": test, "attempt": attempt, "slot": slot, "target": target, "at": _moment(at)}


def finished(
    *,
    test: str,
    attempt: int,
    status: Status | str,
    failure_class: FailureClass | str | None = None,
    rule: str | None = None,
    headline: Sequence[str] = (),
    reason: str | None = None,
    duration_ms: int | None = None,
    phases: Mapping[str, float] | None = None,
    slot: int | None = None,
    target: str | None = None,
    image: str | None = None,
    started_at: dt.datetime | None = None,
    retry_of: int | None = None,
    redacted: int = 0,
    manifest: Manifest | None = None,
) -> Event:
    """What came of an attempt; its bundle travels as the record's blob, with the manifest from `pack_bundle`.

    `phases` are seconds. A test that never started (shed, blocked) has attempt 0.
    """
    event: Event = {"kind": "finished", "test": test, "attempt": attempt, "status": str(status)}
    optional = {
        "failure_class": str(failure_class) if failure_class else None,
        "rule": rule,
        "headline": list(headline),
        "reason": reason,
        "duration_ms": duration_ms,
        "phases": dict(phases or {}),
        "slot": slot,
        "target": target,
        "image": image,
        "started_at": _moment(started_at) if started_at else None,
        "retry_of": retry_of,
        "redacted": redacted,
        "manifest": manifest,
    }
    kept = ("slot", "duration_ms")  # 0 says something there
    return event | {key: value for key, value in optional.items() if value or (key in kept and value is not None)}


def run_finished(
    *,
    state: str,
    exit_code: int | None,
    finished_at: dt.datetime,
    say: str = "",
    phases: Mapping[str, float] | None = None,
    cost_eur: float | None = None,
) -> Event:
    """The run was closed: `finished`, `interrupted` or `aborted`. `phases` are seconds.

    `cost_eur` is what its servers cost; None where nobody charged anything, or nobody is left to say.
    """
    event: Event = {"kind": "run_finished", "state": state, "exit_code": exit_code, "say": say, "cost_eur": cost_eur}
    return {**event, "finished_at": _moment(finished_at), "phases": dict(phases or {})}


def pack_bundle(sections: Iterable[CollectedSection]) -> tuple[Manifest, bytes]:
    """A manifest, and one zstd frame a section in its order; one section can be read without the others.

    In the manifest `size` counts bytes at the source, `kept` those kept, `offset` and `length` the frame's place.
    """
    compressor = zstandard.ZstdCompressor(level=LEVEL)
    manifest: Manifest = []
    frames: list[bytes] = []
    at = 0
    for section in sections:
        frame = compressor.compress(section.text) if section.text else b""
        place = {"offset": at, "length": len(frame)}
        about = {"name": section.name, "source": section.source, "size": section.size, "kept": len(section.text)}
        manifest.append({**about, "absent": section.absent, **place})
        frames.append(frame)
        at += len(frame)
    return manifest, b"".join(frames)


def _moment(moment: dt.datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; moments are aware, in UTC")
    return moment.astimezone(dt.UTC).isoformat()
