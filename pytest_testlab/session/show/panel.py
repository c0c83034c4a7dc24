"""The block at the bottom of a terminal as a pure function: from what is known of a run to lines of so many columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_testlab.planning.forecast import LATE
from pytest_testlab.session.show.style import STATUS, Span, Style, clock, columns, fit, human, pad, roughly

OVERDUE = "longer than usual"
ROOM_FOR_OUTPUT = 6
"""Lines of the terminal that the block leaves to what is printed above it."""
NARROWEST = 20
WIDE, HALF = 76, 50
"""Columns from which on there is room for what is left of a test, and for its phase."""
MOST_OF_A_TEST = 40
"""Columns of its name where there are a hundred or fewer; from there on two fifths of what there is."""
BAR = (8, 36)
"""Columns of the bar, at least and at most."""
ORDER = ("running", "installing platform", "blanking", "booting", "waiting", "lost")
"""What a target may be at, the busiest first."""
COLOURS = {"running": "cyan", "lost": "red", "waiting": "light"}


@dataclass(frozen=True, kw_only=True)
class TargetNow:
    """A target, just now. Times are seconds."""

    name: str
    state: str
    """One of `ORDER`."""
    for_s: float
    """How long it has been so; of a test, how long it has run."""
    test: str = ""
    phase: str = ""
    left_s: float | None = None
    """What is left of what the test is expected to take; below 0 = it takes longer."""


@dataclass(frozen=True, kw_only=True)
class RunNow:
    """A run, just now. Times are seconds."""

    done: int
    planned: int
    """0 = not known yet."""
    elapsed_s: float
    left_s: float | None = None
    """`LATE` = longer than usual, and nobody can say how long."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Status → tests."""
    targets: Sequence[TargetNow] = ()
    note: str = ""
    """What is wrong, or going on, beside the tests."""


def panel(run: RunNow, *, width: int, height: int, style: Style) -> list[str]:
    """At most a line a target and two more: an empty one, which keeps what others print apart, and the run's."""
    width = max(NARROWEST, width - 1)  # a full line would leave the cursor nobody knows where
    shown, others = _chosen(run.targets, height - ROOM_FOR_OUTPUT)
    names = min(max([columns(style.plain(target.name)) for target in shown], default=0), max(8, width // 5))
    times = max((len(human(target.for_s)) for target in shown), default=0)
    tests = max([MOST_OF_A_TEST, *(columns(style.plain(target.test)) for target in shown)])
    tests = min(tests, max(MOST_OF_A_TEST, width * 2 // 5))
    lines = [_target(target, names, times, tests, width, style) for target in shown]
    if others:
        lines.append([(f"  +{len(others)} more: {_summed(others)}", "light")])
    return ["", *(style.render(spans, width) for spans in lines), style.render(_bar(run, width, style), width)]


def _chosen(targets: Sequence[TargetNow], room: int) -> tuple[list[TargetNow], list[TargetNow]]:
    """(those to show, the others): all of them in their order, or the busiest where there is no room for all."""
    if len(targets) <= room:
        return list(targets), []
    ranked = sorted(targets, key=lambda target: (ORDER.index(target.state), -target.for_s))
    kept = {id(target) for target in ranked[: max(0, room - 1)]}
    return [target for target in targets if id(target) in kept], [t for t in targets if id(t) not in kept]


def _summed(targets: Sequence[TargetNow]) -> str:
    counts = {state: sum(target.state == state for target in targets) for state in ORDER}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _target(target: TargetNow, names: int, times: int, tests: int, width: int, style: Style) -> list[Span]:
    """Name, what it does, in which phase, for how long, and what is left; where it is narrow the last goes first."""
    tail = f"  {human(target.for_s):>{times}}" + (f"  {_left(target):<15}" if width >= WIDE else "")
    phases = 20 if width >= WIDE else 10 if width >= HALF else 0
    middle = min(tests, max(8, width - 2 - names - 2 - phases - len(tail)))
    what, phase = (target.test, target.phase) if target.test else (target.state, "")
    colour = COLOURS.get(target.state, "yellow")
    return [
        ("  " + pad(style.plain(target.name), names, style.cut), "bold"),
        ("  " + pad(style.plain(what), middle, style.cut), "" if target.test else colour),
        (pad("  " + style.plain(phase), phases, style.cut), "cyan"),
        (tail.rstrip(), "yellow" if (target.left_s or 0) < 0 else "light"),
    ]


def _left(target: TargetNow) -> str:
    if target.left_s is None:
        return ""
    return f"~{roughly(target.left_s)} left" if target.left_s > 0 else f"{roughly(-target.left_s)} over"


def _bar(run: RunNow, width: int, style: Style) -> list[Span]:
    """The run's own line. What there is no room for is left out: the counts first, the projection last."""
    if not run.planned:
        return [("  collecting", "bold"), (f"  {human(run.elapsed_s)}", "light"), (_note(run), "yellow")]
    done = f"  {run.done}/{run.planned}"
    ends = "" if run.left_s is None else f"  {ending(run.left_s)}"
    counts = [
        (f" {style.sign(status)}{run.counts[status]}", " ".join(colour))
        for status, (_, _, colour) in STATUS.items()
        if run.counts.get(status)
    ]
    room = width - columns(done) - 2 - BAR[0]
    if run.left_s not in (None, LATE) and columns(ends) > room:
        ends = f"  {roughly(run.left_s or 0)} left"
    optional: list[list[Span]] = [
        [(fit(style.plain(_note(run)), room, style.cut), "yellow bold")],
        [(ends, "bold")],
        [(" ", ""), *counts],
        [(f"  {human(run.elapsed_s)}", "light")],
    ]
    kept: dict[int, list[Span]] = {}
    for place, spans in zip((3, 2, 0, 1), optional, strict=True):
        taken = sum(columns(style.plain(text)) for text, _ in spans)
        if taken <= room:
            kept[place] = spans
            room -= taken
    length = min(BAR[1], BAR[0] + room)
    full = length * run.done // run.planned
    bar: list[Span] = [("  " + "━" * full, "red" if _bad(run) else "green"), ("─" * (length - full), "light")]
    return [*bar, (done, "bold"), *(span for place in sorted(kept) for span in kept[place])]


def ending(left_s: float) -> str:
    """When a run ends: `ends 04:12, 6 min left`, or that it takes longer."""
    return OVERDUE if left_s == LATE else f"ends {clock(left_s)}, {roughly(left_s)} left"


def _bad(run: RunNow) -> bool:
    return bool(run.counts.get("failed") or run.counts.get("error"))


def _note(run: RunNow) -> str:
    return f"  {run.note}" if run.note else ""
