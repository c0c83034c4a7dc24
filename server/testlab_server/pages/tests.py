"""`/tests` and `/tests/<test>`: every test with its nights, and one with all that is known of it."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from pytest_testlab.store.reads import runs, tests
from testlab_server.pages.lookup import unknown_test
from testlab_server.present.history import nights, pass_rate, sparkline
from testlab_server.present.morning import default_lane, lanes_of
from testlab_server.present.runs import ROWS
from testlab_server.present.statuses import weight
from testlab_server.reading import reading

blueprint = Blueprint("tests", __name__, url_prefix="/tests")


@blueprint.get("")
def index() -> str:
    """Every test of a lane, what is wrong first; `q` keeps those whose id holds its words.

    A long list comes piece by piece, from `after` rows on; with `all` at once.
    """
    asked = request.args.get("q", "").strip()
    with reading() as connection:
        recent = runs.list_runs(connection, limit=200)
        lane = request.args.get("lane") or default_lane(recent)
        views = tests.list_tests(connection, lane) if lane else []
    wanted = [view for view in views if all(word in view.test.lower() for word in asked.lower().split())]
    wanted.sort(key=lambda view: (weight(view.last_status), view.test))
    after = min(request.args.get("after", 0, type=int), len(wanted))
    shown = wanted[max(0, after) :] if "all" in request.args else wanted[max(0, after) :][:ROWS]
    return render_template(
        "_test_rows.html" if after > 0 else "tests.html",
        rows=[(view, nights(view.strip)) for view in shown],
        upto=max(0, after) + len(shown),
        found=len(wanted),
        total=len(views),
        asked=asked,
        lane=lane,
        lanes=lanes_of(recent),
    )


@blueprint.get("/<test:test>")
def show(test: str) -> str:
    """One test in a lane: its nights, its durations, its failures."""
    with reading() as connection:
        lanes = lanes_of(runs.list_runs(connection, limit=200))
        lane = request.args.get("lane") or None
        view = tests.test(connection, test, lane)
        if view is None:
            raise unknown_test(connection, test, lane)
    strip = nights(view.strip)
    return render_template(
        "test.html",
        view=view,
        nights=strip,
        notable=[night for night in reversed(strip) if night.cell.status != "passed"],
        rate=pass_rate(view.strip),
        spark=sparkline(view.strip, view.p50_s),
        lane=view.lane,
        lanes=lanes,
    )
