"""`/`: what the last run of a lane changed."""

from __future__ import annotations

import datetime as dt

from flask import Blueprint, render_template, request
from werkzeug.wrappers import Response

from pytest_testlab.store.reads import diff as diffs
from pytest_testlab.store.reads import nights, runs
from testlab_server.pages.polling import unchanged
from testlab_server.present import morning as present
from testlab_server.present.nights import nights as present_nights
from testlab_server.reading import reading

blueprint = Blueprint("morning", __name__)
_RUNS_LOOKED_AT = 200
"""How far back lanes are looked for."""
_NIGHTS_LOOKED_AT = 50


@blueprint.get("/")
def show() -> str | Response:
    """The morning page of a lane: the one asked for, else the nightly one, else that of the last run."""
    with reading() as connection:
        recent = runs.list_runs(connection, limit=_RUNS_LOOKED_AT)
        lane = request.args.get("lane") or present.default_lane(recent)
        of_lane = [run for run in recent if run.lane == lane] or runs.list_runs(connection, limit=20, lane=lane)
        chosen = present.chosen_run(of_lane)
        scheduled = present_nights(
            nights.recent(connection, _NIGHTS_LOOKED_AT),
            nights.upcoming(connection),
            dt.datetime.now(dt.UTC),
            led=nights.led(connection),
        )
        changes = diffs.diff(connection, chosen.run) if chosen is not None else None
        beside = runs.beside(connection, changes.run) if changes is not None else []
        if changes is None:
            return render_template("morning_empty.html", lane=lane if recent else None, nights=scheduled)
    view = present.morning(
        changes,
        running=present.running_run(of_lane),
        lanes=present.lanes_of(recent),
        nights=scheduled,
        empty=present.empty_run(of_lane),
        beside=tuple(beside),
    )
    return unchanged(view) or render_template("morning.html", morning=view, lane=lane)
