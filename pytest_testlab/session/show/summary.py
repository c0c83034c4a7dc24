"""The last that is printed: what changed since last night first, then what is known already, and where to read on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pytest_testlab.moments import shown
from pytest_testlab.money import euro
from pytest_testlab.session.show.style import STATUS, WORDS, Style, columns, fit, human, pad
from pytest_testlab.store.reads import diff
from pytest_testlab.store.served import served_at
from pytest_testlab.store.views import DiffItem, DiffView

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_testlab.session.book import Book
    from pytest_testlab.session.run import Run

SHOWN = 12
"""Tests of one list."""
NAMES = (24, 44)
"""Columns of a test's name, at least and at most; where there are more than a hundred, at most two fifths of them."""
AS_EVER = "still failing"


@dataclass(frozen=True)
class _List:
    title: str
    status: str
    """Whose sign and colours it has."""
    rows: Sequence[tuple[str, str]]
    """Test and what is to be said of it."""
    brief: bool = False
    """Names alone, in a line."""


def summarize(run: Run, writer: Any) -> None:
    """Print it; what the store knows of the nights before is left out, and said to be, where it is away."""
    style = Style.of(getattr(writer, "_tw", None))
    writer.section("testlab", sep="=")
    _trouble(run, writer, style)
    changes = {book.image: _diff(run, book) for book in run.books}
    known = {image: found for image, (found, _) in changes.items() if found is not None}
    lists = _of_all(run, known) if len(known) == len(changes) else _of_run(run)
    for image, (found, why) in changes.items():
        _against(found, why, lists, writer, style, f"{style.plain(image)}: " if len(changes) > 1 else "")
    name = _namer(run)
    for some in lists:
        _print(some, name, writer, style)
    _counts(run, writer, style)
    _foot(run, lists, writer, style)


def sign_off(run: Run, writer: Any) -> None:
    """What `-q` leaves of it, since each failure was told when it came: the run's id, and where to read on."""
    style = Style.of(getattr(writer, "_tw", None))
    writer.ensure_newline()
    _trouble(run, writer, style)
    _foot(run, _of_run(run), writer, style)


def _trouble(run: Run, writer: Any, style: Style) -> None:
    if run.aborted or run.unrecorded:
        writer.line(f"  aborted: {style.plain(run.aborted or run.unrecorded)}", red=True, bold=True)
    if run.say:
        writer.line(f"  {style.plain(run.say)}", yellow=True)


def _diff(run: Run, book: Book) -> tuple[DiffView | None, str]:
    """(what changed on an image, why that can't be said)."""
    if run.recorder.away:
        return None, f"the store is away ({run.recorder.away})"
    try:
        with run.store.engine.connect() as connection:
            found = diff.diff(connection, book.id)
    except (sa.exc.SQLAlchemyError, OSError) as error:
        return None, f"the store is away ({str(error).splitlines()[0]})"
    return found, "" if found is not None else "the store has not taken the run in yet"


def _of_all(run: Run, found: Mapping[str, DiffView]) -> list[_List]:
    """The lists of all images in one, by the ids that tests have in this session."""
    ids = {(test["image"], test["row"]): name for name, test in run.tests.items()}
    images = list(found)
    merged = []
    for same in zip(*(_all_lists(view) for view in found.values()), strict=True):
        title = next((some.title for some in same if some.rows), "")
        rows = [
            (ids.get((image, test), test), say)
            for image, some in zip(images, same, strict=True)
            for test, say in some.rows
        ]
        merged.append(_List(title, same[0].status, rows, same[0].brief))
    return [some for some in merged if some.rows]


def _of_diff(found: DiffView) -> list[_List]:
    return [some for some in _all_lists(found) if some.rows]


def _all_lists(found: DiffView) -> list[_List]:
    """Also those with nothing in them, so that each stands at its place."""
    new = [item for item in found.new if item.status == "failed"]
    unknown = [item for item in found.new if item.status == "passed"]
    return [
        _List("newly failing", "failed", _rows(found.newly_failing, _cause)),
        _List("newly fixed", "passed", _rows(found.newly_fixed, _reason)),
        _List("failing, and not seen before" if found.previous else "failing", "failed", _rows(new, _cause)),
        _List(AS_EVER, "failed", _rows(found.still_failing, _since)),
        _List("flaky", "flaky", _rows(found.flaky, _reason)),
        _List("infrastructure errors", "error", _rows(found.errors, _cause)),
        _List("blocked", "blocked", _rows(found.blocked, _reason), brief=True),
        _List("shed", "shed", _rows(found.shed, _reason), brief=True),
        _List("not run", "not_run", _rows(found.not_run, _reason), brief=True),
        _List("not in this run's catalog any more", "not_run", _rows(found.missing, _reason), brief=True),
        _List("new, and passed", "passed", _rows(unknown if found.previous else (), _reason), brief=True),
    ]


def _of_run(run: Run) -> list[_List]:
    """What the run itself knows, where the store can't say what was before."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for result in sorted(run.last.values(), key=lambda result: str(result["test"])):
        said = result["headline"][0] if result["headline"] else result["reason"] or ""
        rows.setdefault(str(result["status"]), []).append((str(result["test"]), str(said)))
    rows["not_run"] = [(test, "") for test in sorted(run.tests.keys() - run.last.keys())]
    titles = {"failed": "failed", "error": "infrastructure errors", "flaky": "flaky", "blocked": "blocked"}
    lists = [_List(title, status, rows.get(status, [])) for status, title in titles.items()]
    lists.append(_List("not run", "not_run", rows["not_run"], brief=True))
    return [some for some in lists if some.rows]


def _rows(items: Sequence[DiffItem], say: Callable[[DiffItem], str]) -> list[tuple[str, str]]:
    return [(item.test, say(item)) for item in items]


def _cause(item: DiffItem) -> str:
    return item.headline[0] if item.headline else item.reason or item.failure_class or ""


def _since(item: DiffItem) -> str:
    runs = f"{item.streak} runs" if item.streak > 1 else "1 run"
    since = f"{runs} since {item.since.astimezone():%d %b}" if item.since is not None else runs
    return f"{since}: {'another cause now: ' if item.changed_class else ''}{_cause(item)}"


def _reason(item: DiffItem) -> str:
    return item.reason or (item.headline[0] if item.headline else "")


def _against(found: DiffView | None, why: str, lists: Sequence[_List], writer: Any, style: Style, on: str = "") -> None:
    """`on` names the image, where there are several: `debian-13: `."""
    if found is None:
        writer.line(f"  {on}what changed can't be said: {style.plain(why)}; of this run alone:", yellow=True)
    elif found.previous is None:
        writer.line(f"  {on}the first run of its lane: there is nothing yet to hold it against", light=True)
    elif _is_as_ever(found, _of_diff(found) if on else lists):
        writer.line(f"  {on}nothing changed since {found.previous}", light=True)
    else:
        writer.line(f"  {on}since {found.previous}:", light=True)


def _is_as_ever(found: DiffView, lists: Sequence[_List]) -> bool:
    """Whether all that there is to tell is what failed before, for the same causes."""
    return all(some.title == AS_EVER for some in lists) and not any(item.changed_class for item in found.still_failing)


def _print(some: _List, name: Callable[[str], str], writer: Any, style: Style) -> None:
    colours = STATUS[some.status][2]
    writer.line("")
    writer.line(f"  {some.title} ({len(some.rows)})", bold=True, **{c: True for c in colours if c != "bold"})
    width = getattr(getattr(writer, "_tw", None), "fullwidth", 80) - 1 if writer.isatty else 10_000
    names = [style.plain(name(test)) for test, _ in some.rows[:SHOWN]]
    if some.brief:
        writer.line(f"    {_in_a_line(names, len(some.rows), width - 4, style)}")
        return
    column = min(max(NAMES[0], *map(columns, names)), max(NAMES[1], width * 2 // 5), max(12, width // 2))
    for named, (_, say) in zip(names, some.rows, strict=False):
        writer.write(f"    {style.sign(some.status)} {pad(named, column, style.cut)}", **colours)
        writer.line(("  " + fit(style.plain(say), max(10, width - column - 8), style.cut)).rstrip())
    if len(some.rows) > SHOWN:
        writer.line(f"      and {len(some.rows) - SHOWN} more", light=True)


def _in_a_line(names: Sequence[str], of: int, width: int, style: Style) -> str:
    """As many whole names as there is room for, at least one, and how many more there are."""
    for kept in range(len(names), 0, -1):
        text = ", ".join(names[:kept]) + (f" and {of - kept} more" if of > kept else "")
        if columns(text) <= width:
            return text
    return fit(names[0], max(8, width - 12), style.cut) + (f" and {of - 1} more" if of > 1 else "")


def _counts(run: Run, writer: Any, style: Style) -> None:
    writer.line("")
    writer.write("  ")
    for status, (_, _, colours) in STATUS.items():
        if run.counts.get(status):
            writer.write(f"{style.sign(status)} {run.counts[status]} {WORDS.get(status, status)}   ", **colours)
    writer.line("")


def _foot(run: Run, lists: Sequence[_List], writer: Any, style: Style) -> None:
    """The run's id, and where to read on: the command for the worst test, and its page where a server runs."""
    spent = human(run.phases.get("total", run.elapsed))
    targets = f"{run.settings.pool} target{'s' if run.settings.pool != 1 else ''} ({run.settings.provider})"
    cost = "" if run.cost_eur is None else f" · {euro(run.cost_eur)}"
    about = f"{targets} · {spent}{cost}"
    if len(run.books) == 1:
        writer.line(style.plain(f"  run {run.id} · {about} · {run.provenance.lane}"))
    else:
        writer.line(style.plain(f"  {about}"))
        for book in run.books:
            counts = ", ".join(f"{n} {WORDS.get(status, status)}" for status, n in run.counts_of(book).items())
            writer.line(style.plain(f"  run {book.id} · {book.provenance.lane} · {counts or 'no tests'}"))
    worst = next((some for some in lists if some.status in ("failed", "error")), None)
    if worst is not None:
        writer.line(f"  testlab why {style.plain(_shortest(run, worst.rows[0][0]))}    the cause, and what was kept")
    page = page_of(run.store.home, run.id)
    where = page or "testlab diff    all that changed · testlab serve    the pages"
    writer.line(f"  {style.plain(where)}", light=True)


def tell_kept(run: Run, writer: Any) -> None:
    """What outlives the run: until when, and what to type to get there."""
    keeping = run.pool.keeping
    for about, until, line in keeping.told() if keeping is not None else ():
        why = f"{_short(run, about.test)} failed" if about.test else "all servers of this run are"
        writer.line(f"  kept until {shown(until)}: {about.name} ({why})")
        if line is not None:
            writer.line(f"    {line}")
        writer.line(f"    testlab run --on {about.name} TEST · testlab servers release {about.name}", light=True)


def _namer(run: Run) -> Callable[[str], str]:
    def name(test: str) -> str:
        known: Mapping[str, Any] | None = run.tests.get(test)
        return f"{known['entry']} · {known['stage']}{known['suffix']}" if known else test

    return name


def _short(run: Run, test: str) -> str:
    """A test, with its image where there are several."""
    known = run.tests.get(test)
    return f"{known['entry']}::{known['stage']}{known['suffix']}" if known else test


def _shortest(run: Run, test: str) -> str:
    """What `testlab why` takes for a test."""
    known = run.tests.get(test)
    if known is None:
        return test
    # what ran on a kept server is told of only where its run is named
    on = f" --run {run.book(known['image']).id}" if known["suffix"] or run.settings.on else ""
    return f"{known['entry']}::{known['stage']}{on}"


def page_of(home: Path, run: str) -> str | None:
    """The address of a run's page, where a server of this home runs."""
    origin = served_at(home)
    return f"{origin}/runs/{run}" if origin else None
