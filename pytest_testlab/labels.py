"""What is written on everything that the lab makes, so that it can be found and removed by whoever finds it.

Values hold at most 63 of letters, digits, `-`, `_` and `.`, with a letter or a digit at both ends, as Hetzner Cloud has
it, the strictest met so far; therefore a moment is written as the number of its second.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

MANAGED_BY = "managed-by"
OURS = "testlab"
RUN = "run"
SLOT = "slot"
EXPIRES = "expires"
"""The second, counted from 1970, after which (and some grace) anybody's reaper may remove it."""
DISPOSABLE = "disposable"
"""`true` on what may be wiped and removed; whoever wants to save a server from the lab takes this label off."""
KEPT = "kept"
"""Why a server outlives its run: `failed`, `always`; `no` where that was taken back."""
DIGEST = "digest"
"""Of what went into a golden snapshot; one without it was never finished, and nothing is started from it."""
FAMILY = "family"
"""Golden snapshots of one provider, image and platform, whatever the versions: the last two of each are kept."""


def labels_of(*, run: str, expires_at: dt.datetime | None, slot: int | None = None) -> dict[str, str]:
    """What to write on something that a run makes; None = it expires with the process that asked for it."""
    own = {MANAGED_BY: OURS, DISPOSABLE: "true", RUN: run}
    own |= {} if expires_at is None else {EXPIRES: moment(expires_at)}
    return own if slot is None else {**own, SLOT: str(slot)}


def is_ours(labels: Mapping[str, str]) -> bool:
    """Whether the lab made it; nothing else is ever touched."""
    return labels.get(MANAGED_BY) == OURS


def is_disposable(labels: Mapping[str, str]) -> bool:
    """Whether it may be wiped and removed."""
    return is_ours(labels) and labels.get(DISPOSABLE) == "true"


def is_kept(labels: Mapping[str, str]) -> bool:
    """Whether it is to outlive its run."""
    return labels.get(KEPT, "no") != "no"


def expires_at(labels: Mapping[str, str]) -> dt.datetime | None:
    """When it expires; None where nothing, or nothing that can be read, says so."""
    text = labels.get(EXPIRES, "")
    return dt.datetime.fromtimestamp(int(text), dt.UTC) if text.isdecimal() and len(text) <= 11 else None


def moment(at: dt.datetime) -> str:
    """A moment as a label's value."""
    return str(int(at.timestamp()))
