"""A test's nights: the strip, and the durations as a line to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_testlab.store.views import HistoryCell

FAILING = ("failed",)


@dataclass(frozen=True, kw_only=True)
class Night:
    """A cell of the strip; `turn` marks a failure whose cause isn't that of the failure before it."""

    cell: HistoryCell
    turn: bool


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A duration in the drawing's own units."""

    x: float
    y: float
    cell: HistoryCell


@dataclass(frozen=True, kw_only=True)
class Sparkline:
    """Durations of the nights, oldest left; the drawing is `width` by `height`."""

    width: float
    height: float
    line: str
    """The `points` of a polyline through the passes."""
    dots: tuple[Dot, ...]
    highest_s: float
    median_y: float | None


def nights(cells: Sequence[HistoryCell]) -> tuple[Night, ...]:
    """The strip with the turns in it: a failure that another failure came before, with another fingerprint."""
    strip, last = [], None
    for cell in cells:
        failing = cell.status in FAILING
        turn = failing and last is not None and _cause(last) != _cause(cell)
        strip.append(Night(cell=cell, turn=turn))
        last = cell if failing else None if cell.status in ("passed", "flaky") else last
    return tuple(strip)


def _cause(cell: HistoryCell) -> str | None:
    return cell.fingerprint or cell.failure_class


def sparkline(
    cells: Sequence[HistoryCell], median_s: float | None = None, *, width: float = 600.0, height: float = 72.0
) -> Sparkline | None:
    """From zero to the longest night; None with fewer than two durations, where there is nothing to see."""
    timed = [(index, cell, cell.duration_s) for index, cell in enumerate(cells) if cell.duration_s is not None]
    if len(timed) < 2:
        return None
    highest = max(max(seconds for _, _, seconds in timed), 0.001)
    pad = 4.0
    step = (width - 2 * pad) / max(len(cells) - 1, 1)

    def up(seconds: float) -> float:
        return round(height - pad - (height - 2 * pad) * min(seconds / highest, 1), 1)

    dots = tuple(Dot(x=round(pad + index * step, 1), y=up(seconds), cell=cell) for index, cell, seconds in timed)
    passes = [dot for dot in dots if dot.cell.status in ("passed", "flaky")]
    return Sparkline(
        width=width,
        height=height,
        line=" ".join(f"{dot.x},{dot.y}" for dot in passes),
        dots=dots,
        highest_s=highest,
        median_y=up(median_s) if median_s is not None and median_s <= highest else None,
    )


def pass_rate(cells: Sequence[HistoryCell]) -> tuple[int, int]:
    """Passes, and all nights that count: infrastructure errors, skips and what never ran stand outside."""
    counting = [cell for cell in cells if cell.status in ("passed", "flaky", "failed")]
    return sum(cell.status != "failed" for cell in counting), len(counting)
