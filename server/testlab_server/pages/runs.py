"""`/runs` and `/runs/<run>`: all runs, and one that fills while it goes on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from flask import Blueprint, current_app, render_template, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from pytest_testlab.store.reads import attempts, runs
from pytest_testlab.store.views import RunView
from testlab_server.pages.lookup import found_run
from testlab_server.pages.polling import unchanged
from testlab_server.present import runs as present
from testlab_server.present.morning import lanes_of
from testlab_server.reading import reading
from testlab_server.watching import Watch, Watches

blueprint = Blueprint("runs", __name__, url_prefix="/runs")
_LIMIT = 100
POLL_MS = 300
"""How often the page of a run that goes on asks: a status is to show within a second."""


@blueprint.get("")
def index() -> str | Response:
    """The newest runs, of all lanes or of one."""
    lane = request.args.get("lane") or None
    with reading() as connection:
        shown = runs.list_runs(connection, limit=_LIMIT, lane=lane)
        lanes = lanes_of(runs.list_runs(connection, limit=2 * _LIMIT))
    return unchanged(shown) or render_template("runs.html", runs=shown, lane=lane, lanes=lanes, limit=_LIMIT)


@blueprint.get("/<run>")
def show(run: str) -> str:
    """One run, whole."""
    with reading() as connection:
        shown = found_run(connection, run)
        beside = runs.beside(connection, shown)
        return _watching(
            connection, shown, lambda watch: render_template("run.html", beside=beside, **_whole(connection, watch))
        )


@blueprint.get("/<run>/rows")
def rows(run: str) -> str:
    """The next rows of a long run's table: those whose `order` comes after `after`."""
    with reading() as connection:
        shown = found_run(connection, run)
        return _watching(
            connection, shown, lambda watch: render_template("run_more.html", **_context(watch), **_rows(watch))
        )


@blueprint.get("/<run>/live")
def live(run: str) -> str:
    """What moves on a run's page; what didn't move since `seen` is left out."""
    with reading() as connection:
        shown = found_run(connection, run)
        return _watching(connection, shown, lambda watch: _moves(connection, watch))


def _watching(connection: Connection, run: RunView, show: Callable[[Watch], str]) -> str:
    watches: Watches = current_app.extensions["testlab-watches"]
    with watches.watch(connection, run) as watch:
        return show(watch)


def _moves(connection: Connection, watch: Watch) -> str:
    seen = request.args.get("seen", "")
    rows = watch.rows_since(seen)
    if rows is None:
        return render_template("run_live.html", whole=True, **_whole(connection, watch))
    return render_template("run_live.html", moved=seen != watch.seen, rows=rows, **_context(watch))


def _whole(connection: Connection, watch: Watch) -> dict[str, object]:
    # How its targets came to be; nothing while it goes on.
    transcript = (attempts.transcript(connection, watch.run.run) or b"").decode(errors="replace")
    return {**_context(watch), **_rows(watch), "transcript": transcript}


def _rows(watch: Watch) -> dict[str, object]:
    """As many rows of the table as were asked for, from where they were asked for."""
    results = present.sorted_results(watch.results.values())
    most = len(results) if "all" in request.args else present.ROWS
    shown, more = present.page_of(results, request.args.get("after", ""), most)
    return {"results": shown, "more": more}


def _context(watch: Watch) -> dict[str, object]:
    return {
        "run": watch.run,
        "folder": watch.folder,
        "targets": watch.targets,
        "progress": present.progress(watch.run, watch.results.values(), dt.datetime.now(dt.UTC)),
        "seen": watch.seen,
        "poll_ms": POLL_MS,
    }
