"""Events are plain JSON, and bundles are frames with a manifest that leads to each."""

import datetime as dt
import json

import pytest
import zstandard

from pytest_testlab.model import CollectedSection, Provenance
from pytest_testlab.recording import events

NOW = dt.datetime(2026, 11, 21, 2, 31, tzinfo=dt.UTC)


def test_every_event_is_json() -> None:
    """What is made is what is read back."""
    provenance = Provenance(
        run="r", mode="cli", trigger="cli:me", actor="me", platform="procfile", provider="local", image="",
        branch="main", sha="", dirty=False, runner_version="0", pool=1, budget_s=60.0, started_at=NOW,
    )  # fmt: skip
    planned = events.PlannedTest(test="t", suite="apps", entry="e", stage="install", tags=("a",))
    made = [
        events.run_started(provenance, arguments={"-k": "radicale"}),
        events.collected([planned], selection="d"),
        events.target_event(slot=0, name="t0", state="ready", at=NOW, proof={"folder": "new"}),
        events.started(test="t", attempt=1, slot=0, target="t0", at=NOW),
        events.finished(test="t", attempt=1, status="passed", slot=0, started_at=NOW, phases={"build": 1.5}),
        events.run_finished(state="finished", exit_code=0, finished_at=NOW),
    ]
    for event in made:
        assert json.loads(json.dumps(event)) == json.loads(json.dumps(event, default=str))
    assert made[0]["lane"] == "cli/main/procfile/local/-"
    assert made[4]["slot"] == 0
    assert "headline" not in made[4]


def test_a_naive_moment_is_refused() -> None:
    """A moment without a zone would be read as another one elsewhere."""
    naive = dt.datetime(2026, 11, 21, 2, 31)  # noqa: DTZ001  the point of the test
    with pytest.raises(ValueError, match="has no time zone"):
        events.started(test="t", attempt=1, slot=0, target="t", at=naive)


def test_each_section_of_a_bundle_can_be_read_alone() -> None:
    """The manifest's offset and length cut out one whole frame; an absent section has none."""
    sections = [
        CollectedSection(name="app", source="app.log", text=b"x" * 1000, size=5000),
        CollectedSection(name="dns", source="getent", text=b"", size=0, absent="no getent here"),
        CollectedSection(name="http", source="probe", text=b"HTTP/1.1 502", size=12),
    ]
    manifest, blob = events.pack_bundle(sections)
    cut = [blob[part["offset"] : part["offset"] + part["length"]] for part in manifest]
    assert zstandard.ZstdDecompressor().decompress(cut[0]) == b"x" * 1000
    assert cut[1] == b""
    assert zstandard.ZstdDecompressor().decompress(cut[2]) == b"HTTP/1.1 502"
    assert [(part["name"], part["size"], part["kept"], part["absent"]) for part in manifest] == [
        ("app", 5000, 1000, None),
        ("dns", 0, 0, "no getent here"),
        ("http", 12, 12, None),
    ]


def test_a_test_that_took_no_time_has_a_duration() -> None:
    """Zero is a figure: nothing recorded is None."""
    event = events.finished(test="a", attempt=1, status="passed", duration_ms=0, slot=0)
    assert (event["duration_ms"], event["slot"]) == (0, 0)
    assert "duration_ms" not in events.finished(test="a", attempt=1, status="passed")
