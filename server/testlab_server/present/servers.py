"""The servers that are alive, as far as the store knows: who has each, until when, and what it has cost by now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_testlab.money import billed
from pytest_testlab.store.views import LeaseView

SILENT_S = 2 * 3600.0
"""A server of which no run has spoken for longer than this is taken for gone: the reaper was there."""
STATES = {"busy": "in use", "kept": "kept", "lost": "no word of it"}


@dataclass(frozen=True, kw_only=True)
class ServerRow:
    """A server, as a line of the page."""

    lease: LeaseView
    state: str
    """`busy`, `kept` or `lost`."""
    cost_eur: float | None
    """Until now; None where nobody charges anything."""

    @property
    def said(self) -> str:
        """The state in words."""
        return STATES[self.state]


@dataclass(frozen=True, kw_only=True)
class Servers:
    """All that the page shows."""

    rows: tuple[ServerRow, ...]
    cost_eur: float | None
    """Of all of them, until now; None where nobody charges anything."""

    def count(self, state: str) -> int:
        """How many are in a state."""
        return sum(row.state == state for row in self.rows)


def servers(leases: Iterable[LeaseView], now: dt.datetime) -> Servers:
    """Those that are kept first, as they wait for somebody; then those of which there is no word, then those in use."""
    rows = sorted((_row(lease, now) for lease in leases), key=lambda row: (_ORDER[row.state], row.lease.made_at))
    costs = [row.cost_eur for row in rows if row.cost_eur is not None]
    return Servers(rows=tuple(rows), cost_eur=sum(costs) if costs else None)


_ORDER = {"kept": 0, "lost": 1, "busy": 2}


def _row(lease: LeaseView, now: dt.datetime) -> ServerRow:
    state = "lost" if lease.lapsed else "kept" if lease.state == "kept" else "busy"
    return ServerRow(lease=lease, state=state, cost_eur=billed(lease.eur_per_hour, lease.made_at, now))
