"""`/runs/<run>/tests/<test>[/<attempt>[/<section>]]`: why a test came out as it did."""

from __future__ import annotations

from flask import Blueprint, render_template, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from pytest_testlab.errors import UsageError
from pytest_testlab.store.reads import attempts, tests
from pytest_testlab.store.views import AttemptView, HistoryCell, SectionView
from testlab_server.mistakes import Unknown, nearest_names
from testlab_server.pages.lookup import found_run, unknown_test
from testlab_server.present import attempts as present
from testlab_server.present.history import nights
from testlab_server.reading import reading

blueprint = Blueprint("attempts", __name__, url_prefix="/runs/<run>/tests")


@blueprint.get("/<test:test>")
@blueprint.get("/<test:test>/<int:attempt>")
@blueprint.get("/<test:test>/<int:attempt>/<section>")
def show(run: str, test: str, attempt: int | None = None, section: str | None = None) -> str:
    """The headline, the class and its rule, the phases, and the bundle with one section open."""
    with reading() as connection:
        view = found_run(connection, run)
        found = _found(connection, view.run, test, attempt)
        opened = _section(found, section) if section else present.first_section(found)
        text = _text(connection, found, opened) if opened and opened.absent is None else None
        cells = _cells(connection, test, view.lane)
    return render_template(
        "attempt.html",
        run=view,
        attempt=found,
        result=found.result,
        phases=present.phase_bar(found.phases),
        opened=opened,
        text=text,
        nights=nights(cells),
    )


@blueprint.get("/<test:test>/<int:attempt>/<section>.txt")
def download(run: str, test: str, attempt: int, section: str) -> Response:
    """The whole text of a section as it is kept: a download, which no browser will take for a page."""
    with reading() as connection:
        found = _found(connection, found_run(connection, run).run, test, attempt)
        opened = _section(found, section)
        if opened.absent is not None:
            raise Unknown(f"The section {section} is absent: {opened.absent}")
        text = attempts.section(connection, found.result.run, test, found.result.attempt, section)
    response = Response(text, content_type="text/plain; charset=utf-8")
    response.headers.set("Content-Disposition", "attachment", filename=f"{found.result.run}-{section}.txt")
    return response


def _found(connection: Connection, run: str, test: str, attempt: int | None) -> AttemptView:
    found = attempts.attempt(connection, run, test, attempt)
    if found is None:
        raise unknown_test(connection, test, run)
    return found


def _section(attempt: AttemptView, name: str) -> SectionView:
    known = {section.name: section for section in attempt.sections}
    if name in known:
        return known[name]
    place = {"run": attempt.result.run, "test": attempt.result.test, "attempt": attempt.result.attempt}
    near = [(near, url_for("attempts.show", section=near, **place)) for near in nearest_names(name, known) or known]
    raise Unknown(f"This bundle has no section {name!r}.", near)


def _text(connection: Connection, found: AttemptView, section: SectionView) -> present.SectionText:
    result = found.result
    raw = attempts.section(connection, result.run, result.test, result.attempt, section.name)
    return present.section_text(section, raw, result.headline)


def _cells(connection: Connection, test: str, lane: str) -> tuple[HistoryCell, ...]:
    try:
        return tests.test(connection, test, lane).strip
    except UsageError:
        return ()  # its run is too young for the lane to know the test
