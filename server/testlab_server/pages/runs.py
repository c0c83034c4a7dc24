"""`/runs` and `/runs/<run>`: all runs, and one that fills while it goes on."""

from __future__ import annotations

import datetime as dt

from flask import Blueprint, render_template, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from pytest_testlab.store.reads import attempts, runs
from pytest_testlab.store.views import ResultView, RunView, TargetView
from testlab_server.pages.lookup import found_run
from testlab_server.pages.polling import unchanged
from testlab_server.present import runs as present
from testlab_server.present.morning import lanes_of
from testlab_server.present.words import common_folder
from testlab_server.reading import reading

blueprint = Blueprint("runs", __name__, url_prefix="/runs")
_LIMIT = 100


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
        context = _context(*_read(connection, run))
        return render_template("run.html", transcript=_transcript(connection, run), **context)


@blueprint.get("/<run>/live")
def live(run: str) -> str:
    """What moves on a run's page; the parts that didn't move since `seen` are left out."""
    with reading() as connection:
        context = _context(*_read(connection, run))
        moved = request.args.get("seen") != context["seen"]
        transcript = _transcript(connection, run) if moved else ""
    return render_template("run_live.html", moved=moved, transcript=transcript, **context)


def _transcript(connection: Connection, run: str) -> str:
    """How its targets came to be; empty while it goes on."""
    return (attempts.transcript(connection, run) or b"").decode(errors="replace")


def _read(connection: Connection, name: str) -> tuple[RunView, list[ResultView], list[TargetView]]:
    run = found_run(connection, name)
    return run, list(runs.results(connection, run.run)), list(runs.targets(connection, run.run))


def _context(run: RunView, results: list[ResultView], targets: list[TargetView]) -> dict[str, object]:
    return {
        "run": run,
        "results": present.sorted_results(results),
        "folder": common_folder(result.test for result in results),
        "targets": targets,
        "progress": present.progress(run, results, dt.datetime.now(dt.UTC)),
        "seen": present.digest(run, results, targets),
    }
