"""One attempt at one test of the catalog, and what is written down and told of it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_testlab.catalog.items import CatalogItem
from pytest_testlab.model import Bundle, Server, Status
from pytest_testlab.recording import events
from pytest_testlab.target.observe import Observations

TRIES = 2
"""Attempts at a test at most: an infrastructure fault gets one more try, on another target."""


@dataclass
class Attempt:
    """One attempt at one test, while it runs."""

    item: CatalogItem
    number: int
    started_at: dt.datetime
    observe: Observations = field(default_factory=Observations)
    clock: float = field(default_factory=time.monotonic)
    status: Status = Status.PASSED
    bundle: Bundle | None = None
    reason: str | None = None

    def finished(self, slot: int, server: Server) -> tuple[dict[str, Any], bytes]:
        """The journal's event of its end, and the bundle's bytes that go with it."""
        bundle = self.bundle
        verdict = None if bundle is None else bundle.verdict
        manifest, blob = events.pack_bundle(() if bundle is None else bundle.sections)
        event = events.finished(
            test=self.item.row,
            attempt=self.number,
            status=self.status.value,
            failure_class=None if verdict is None else verdict.failure_class.value,
            rule=None if verdict is None else verdict.rule,
            headline=[] if bundle is None else list(bundle.headline),
            reason=self.reason,
            duration_ms=round((time.monotonic() - self.clock) * 1000),
            phases=self.observe.phases,
            slot=slot,
            target=server.name,
            image=server.image or "",
            started_at=self.started_at,
            retry_of=self.number - 1 or None,
            redacted=0 if bundle is None else bundle.redacted,
            manifest=manifest,
        )
        return event, blob


def skip(reason: str) -> BaseException:
    """What makes pytest skip a test, shown at the test's own place."""
    return pytest.skip.Exception(reason, _use_item_location=True)


def blocked(by: str, failure_class: str) -> str:
    """Why a test that stands on another one can't run."""
    return f"blocked: {by} failed ({failure_class})"


def outline(event: Mapping[str, Any], test: str) -> dict[str, Any]:
    """What of a `finished` event goes to pytest with its report; `again`: the test will be tried once more.

    `test` is the id that it has in this session.
    """
    keys = ("status", "failure_class", "headline", "reason", "slot", "target", "phases")
    again = event["status"] == Status.ERROR and event["attempt"] < TRIES
    return {"test": test, "again": again, **{key: event.get(key) for key in keys}}
