"""The morning page: what a run changed, said first in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_testlab.model import ON_SERVER
from pytest_testlab.store.views import DiffItem, DiffView, RunView
from testlab_server.present.nights import Nights
from testlab_server.present.runs import ROWS
from testlab_server.present.words import counted

ENDED = ("finished", "interrupted", "aborted")


@dataclass(frozen=True, kw_only=True)
class Group:
    """One list of the diff, as a part of the page."""

    key: str
    title: str
    hint: str
    items: tuple[DiffItem, ...]
    folded: bool = False
    """Folded lists are there to be looked up, not to be read each morning."""

    @property
    def shown(self) -> tuple[DiffItem, ...]:
        """What the page has of it; the run's own page has all."""
        return self.items[:ROWS]

    @property
    def more(self) -> int:
        """How many it doesn't."""
        return len(self.items) - len(self.shown)


@dataclass(frozen=True, kw_only=True)
class Morning:
    """All that the page shows."""

    diff: DiffView
    said: tuple[str, ...]
    """The sentence in its parts, e.g. `2 tests broke`, `1 mended`."""
    tone: str
    """`bad`, `warn` or `good`: what the sentence is painted in."""
    groups: tuple[Group, ...]
    first_night: bool
    running: RunView | None
    empty: RunView | None
    """A newer run that ended before any test ran."""
    lanes: tuple[str, ...]
    nights: Nights | None
    beside: tuple[RunView, ...] = ()
    """The runs of its session, one for each image, itself included."""

    @property
    def sentence(self) -> str:
        """What the night came to."""
        return ", ".join(self.said)


def chosen_run(runs: Sequence[RunView]) -> RunView | None:
    """The run that the page is about, of a lane's runs, newest first: the last that ended, else the one that runs.

    One that ended before it knew its tests is for where there is no other.
    """
    ended = next((run for run in runs if run.state in ENDED and run.planned), None)
    return ended or running_run(runs) or (runs[0] if runs else None)


def empty_run(runs: Sequence[RunView]) -> RunView | None:
    """The last run that ended, if it did before it knew its tests."""
    last = next((run for run in runs if run.state in ENDED), None)
    return last if last and not last.planned else None


def running_run(runs: Sequence[RunView]) -> RunView | None:
    """The newest run that goes on."""
    return next((run for run in runs if run.state not in ENDED), None)


def default_lane(runs: Sequence[RunView]) -> str | None:
    """The lane of the newest nightly run that had tests, else of the newest run; None where there is none.

    Of a session on several images that of the first.
    """
    nightly = next((run for run in runs if run.mode == "nightly" and run.planned), None)
    nightly = nightly or next((run for run in runs if run.mode == "nightly"), None)
    chosen = nightly or next((run for run in runs if run.mode != ON_SERVER), None)
    first = next((run for run in runs if chosen and run.run == chosen.session), chosen)
    return first.lane if first else None


def lanes_of(runs: Sequence[RunView]) -> tuple[str, ...]:
    """The lanes that had a run lately, by name: a pill stands where it stood the last time, whatever ran meanwhile.

    What ran on a kept server has no nights to compare.
    """
    return tuple(sorted({run.lane for run in runs if run.mode != ON_SERVER}))


def morning(
    diff: DiffView,
    *,
    running: RunView | None,
    lanes: tuple[str, ...],
    nights: Nights | None = None,
    empty: RunView | None = None,
    beside: tuple[RunView, ...] = (),
) -> Morning:
    """Newly failing first, then in the order in which a reader has something to do about them."""
    groups = tuple(group for group in _groups(diff) if group.items)
    tone, said = _said(diff)
    return Morning(
        diff=diff,
        said=said,
        tone=tone,
        groups=groups,
        first_night=diff.previous is None,
        running=running if running and running.run != diff.run.run else None,
        empty=empty if empty and empty.run != diff.run.run else None,
        lanes=lanes,
        nights=nights,
        beside=beside,
    )


def new_failures(diff: DiffView) -> tuple[DiffItem, ...]:
    """Tests that failed on the first night they were seen."""
    return tuple(item for item in diff.new if item.status == "failed")


def _groups(diff: DiffView) -> tuple[Group, ...]:
    born_red = new_failures(diff)
    quiet = tuple(item for item in diff.new if item.status != "failed")
    first = diff.previous is None
    red_title = "Failing" if first else "New and failing"
    red_hint = "the first night of this lane" if first else "failed on the first night that they were seen"
    new_hint = "the first night of this lane" if first else "seen for the first time"
    return (
        Group(key="newly-failing", title="Newly failing", hint="passed the last time", items=diff.newly_failing),
        Group(key="new-failing", title=red_title, hint=red_hint, items=born_red),
        Group(key="newly-fixed", title="Newly fixed", hint="failed the last time", items=diff.newly_fixed),
        Group(key="still-failing", title="Still failing", hint="a changed cause is flagged", items=diff.still_failing),
        Group(key="errors", title="Errors", hint="the lab's or the server's fault, not the app's", items=diff.errors),
        Group(key="flaky", title="Flaky", hint="failed, then passed on a fresh server", items=diff.flaky),
        Group(key="blocked", title="Blocked", hint="an earlier stage failed", items=diff.blocked, folded=True),
        Group(key="skipped", title="Skipped", hint="with the reason", items=diff.skipped, folded=True),
        Group(key="shed", title="Shed", hint="no room in the budget", items=diff.shed, folded=True),
        Group(key="not-run", title="Not run", hint="the run ended before them", items=diff.not_run, folded=True),
        Group(
            key="missing",
            title="Missing",
            hint="in the last complete run, and not in this selection",
            items=diff.missing,
            folded=True,
        ),
        Group(key="new", title="New", hint=new_hint, items=quiet, folded=True),
    )


def _said(diff: DiffView) -> tuple[str, tuple[str, ...]]:
    """The tone, and the parts of the sentence; "all is well" is for a whole run in which nothing was left out."""
    first, born_red = diff.previous is None, len(new_failures(diff))
    broke = len(diff.newly_failing) + (0 if first else born_red)
    still = len(diff.still_failing) + (born_red if first else 0)
    cut_short = diff.run.state in ("interrupted", "aborted")
    parts = [
        f"the run was {diff.run.state}" if cut_short else "",
        f"{counted(broke, 'test')} broke" if broke else "",
        f"{len(diff.newly_fixed)} mended" if diff.newly_fixed else "",
        f"{still} {'failing on the first night' if first else 'still failing'}" if still else "",
        f"{counted(len(diff.errors), 'error')} of the lab" if diff.errors else "",
    ]
    if not any(parts[:2]) and not still and not diff.errors:
        left_out = ((diff.blocked, "blocked"), (diff.not_run, "never ran"), (diff.shed, "shed"))
        parts += [f"{len(items)} {word}" for items, word in left_out if items]
    said = tuple(part for part in parts if part) or ("all is well",)
    said = (said[0][:1].upper() + said[0][1:], *said[1:])
    if cut_short or broke or (first and still):
        return "bad", said
    quiet = not (still or diff.errors or diff.not_run or diff.blocked or diff.shed)
    return "good" if quiet else "warn", said
