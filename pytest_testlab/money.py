"""Euro: what a server costs, and how that is written."""

from __future__ import annotations

import datetime as dt
import math

HOUR_S = 3600.0


def billed(eur_per_hour: float | None, since: dt.datetime, until: dt.datetime) -> float | None:
    """Euro for a server: clouds bill each hour begun, the first one whole; None where nobody charges anything."""
    if eur_per_hour is None:
        return None
    return eur_per_hour * max(1, math.ceil((until - since).total_seconds() / HOUR_S))


def euro(amount: float) -> str:
    """`3.20 €`; below ten cents `0.013 €`, because a server's hour costs no more."""
    return f"{amount:.3f} €" if 0 < abs(amount) < 0.0995 else f"{amount:.2f} €"
