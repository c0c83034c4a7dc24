"""The run's own bundle: how its targets came to be, told from what the journal took down as it went."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_testlab.model import CollectedSection
from pytest_testlab.moments import zone

NAME = "provisioning"
LONGEST = 1_000_000
"""Bytes; how it began says more than how it went on, so the end is cut."""
TOLD = ("target", NAME)
"""The kinds of events that it is made from."""
_UNDER_WAY = {"provisioning", "blanking"}


def transcript(events: Iterable[Mapping[str, Any]]) -> CollectedSection:
    """A section of a line an event: when, which slot, what was tried or came of it, and why."""
    told = sorted((event for event in events if event["kind"] in TOLD), key=lambda event: event["at"])
    lines, last = [], {}
    if told:
        began = dt.datetime.fromisoformat(told[0]["at"]).astimezone()
        lines.append(f"{began:%Y-%m-%d}, times in {zone(began)}")
    for event in told:
        if event["kind"] == "target":
            last[event["slot"]] = event["state"]
        if event.get("state") != "busy":
            lines += _lines(event)
    lines += [
        f"{'':12}  slot {slot}  was still {state} when the run ended"
        for slot, state in sorted(last.items())
        if state in _UNDER_WAY
    ]
    text = "".join(line + "\n" for line in lines).encode(errors="backslashreplace")
    return CollectedSection(name=NAME, source="the run's journal", text=text[:LONGEST], size=len(text))


def _lines(event: Mapping[str, Any]) -> list[str]:
    at = dt.datetime.fromisoformat(event["at"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    say = str(event.get("say", "")).splitlines() or [""]
    proof = ", ".join(f"{key} {value}" for key, value in (event.get("proof") or {}).items())
    state = event.get("state", "")
    words = ": ".join(filter(None, (state, say[0], proof if state == "ready" else "")))
    name = f" ({event['name']})" if event.get("name") and event["name"] != f"slot {event['slot']}" else ""
    who = "the lab" if event["slot"] is None else f"slot {event['slot']}"
    return [f"{at}  {who}{name}  {words}", *(f"{'':14}| {line}" for line in say[1:])]
