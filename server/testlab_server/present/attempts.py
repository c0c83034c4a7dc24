"""One attempt: where its time went, and which section of the bundle to open first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pytest_testlab.store.views import AttemptView, ResultView, SectionView
from testlab_server.ansi import plain, render_lines, split_lines, text_of
from testlab_server.present.words import in_order

LAST_LINES = 2_000
"""What the first screen of a section holds at most; the whole text is a download."""
LAST_CHARS = 256 * 1024
"""As `LAST_LINES`, for lines that are long: colours and control characters make a dozen bytes of a page out of one."""
REST = "between them"
LEAST_REST_S = 0.1
_LEAST_TELLING = 8
"""A headline's line shorter than this would be found everywhere."""
_TELLING = {
    "build-failure": ("build", "deploy"),
    "deploy-failure": ("deploy", "journald"),
    "addon-unreachable": ("proxy-probe", "app"),
    "app-crash": ("app", "journald"),
    "app-error": ("app", "http", "check"),
    "proxy-502": ("proxy-probe", "nginx-error", "app"),
    "timeout": ("build", "check", "app", "proxy-probe"),
    "check-failed": ("check", "http", "app"),
    "infra": ("deploy", "journald"),
}
"""Class → the sections in which its cause shows, the likeliest first."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of a bar, in per cent of the whole."""

    name: str
    seconds: float
    start: float
    width: float
    number: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a section; `hit` says that the headline quotes it."""

    number: int
    markup: Markup
    hit: bool


@dataclass(frozen=True, kw_only=True)
class SectionText:
    """A section as the page shows it: its last lines."""

    section: SectionView
    lines: tuple[Line, ...]
    skipped: int
    """Lines that stand before those shown."""

    @property
    def first_hit(self) -> int | None:
        """The number of the first line that the headline quotes."""
        return next((line.number for line in self.lines if line.hit), None)


def phase_bar(phases: Mapping[str, float], took_s: float | None = None) -> tuple[Phase, ...]:
    """The phases in the order they came, each with its share; with what none of them has, so that they add up."""
    rest = (took_s or 0.0) - sum(phases.values())
    told = {**in_order(phases), **({REST: rest} if phases and rest >= LEAST_REST_S else {})}
    whole = sum(told.values())
    bar, start = [], 0.0
    for number, (name, seconds) in enumerate(told.items()):
        width = 100 * seconds / whole if whole else 0.0
        bar.append(Phase(name=name, seconds=seconds, start=start, width=width, number=number % 6))
        start += width
    return tuple(bar)


def causes(blocked: ResultView, results: Iterable[ResultView]) -> list[ResultView]:
    """What of the same entry failed, and so kept this test from running."""
    file = blocked.test.partition("::")[0]
    return [other for other in results if other.test.startswith(file + "::") and other.status in ("failed", "error")]


def telling_sections(attempt: AttemptView) -> list[SectionView]:
    """The sections to open when none was asked for, the likeliest first.

    Those in which a failure of this class shows; where there are none, the first with text, or the first at all. Of
    several, the one that the headline quotes is the one to open.
    """
    present = {section.name: section for section in attempt.sections if section.absent is None and section.kept}
    likely = [present[name] for name in _TELLING.get(attempt.result.failure_class or "", ()) if name in present]
    return likely or list(present.values())[:1] or list(attempt.sections[:1])


def in_tabs(sections: Sequence[SectionView]) -> list[SectionView]:
    """As they were collected, those with text first, then empty ones, and last those that couldn't be had."""
    return sorted(sections, key=lambda section: (section.absent is not None, not section.kept))


def section_text(section: SectionView, raw: bytes, headline: Iterable[str]) -> SectionText:
    """The last lines, those marked that the headline quotes."""
    lines = split_lines(text_of(raw))
    shown = _fitting(lines)
    if lines and len(lines[-1]) > LAST_CHARS:
        lines[-1] = "…" + lines[-1][-LAST_CHARS:]
    rendered = render_lines("".join(line + "\n" for line in lines), last=shown)
    skipped = len(lines) - len(rendered)
    telling = [quote for line in headline if (quote := _quote(plain(line).strip(), section.name))]
    return SectionText(
        section=section,
        lines=tuple(
            Line(number=number, markup=markup, hit=_quoted(plain(line).strip(), telling))
            for number, line, markup in zip(range(skipped + 1, len(lines) + 1), lines[skipped:], rendered, strict=True)
        ),
        skipped=skipped,
    )


def _fitting(lines: Sequence[str]) -> int:
    """How many lines from the end fit on the first screen; the last one always does."""
    room = LAST_CHARS
    for count, line in enumerate(reversed(lines[-LAST_LINES:])):
        room -= len(line)
        if room < 0:
            return max(1, count)
    return min(len(lines), LAST_LINES)


def _quote(line: str, section: str) -> str:
    """What a line of the headline quotes from this section; empty where it is too short to be told from others.

    Headlines name the section before what they quote from it, and mark with "…" where they cut a long line off.
    """
    said = line.removeprefix(f"{section}: ").removesuffix("…").strip()
    return said if len(said) >= _LEAST_TELLING else ""


def _quoted(line: str, telling: Sequence[str]) -> bool:
    if len(line) < _LEAST_TELLING:
        return False
    return any(quote in line or (line in quote and len(line) > len(quote) / 2) for quote in telling)
