"""`/runs/<run>/tests/<test>[/<attempt>[/<section>]]`: why a test came out as it did."""

from __future__ import annotations

from flask import Blueprint, render_template, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from pytest_testlab.store.reads import attempts, runs, tests
from pytest_testlab.store.views import AttemptView, HistoryCell, SectionView
from testlab_server.mistakes import Unknown, nearest_names
from testlab_server.pages.lookup import found_run, unknown_in_run
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
        text = _opened(connection, found, section)
        blocked = found.result.status == "blocked"
        causes = present.causes(found.result, runs.results(connection, view.run)) if blocked else []
        cells = _cells(connection, test, view.lane)
        images = runs.on_images(connection, view, test)
    return render_template(
        "attempt.html",
        run=view,
        attempt=found,
        result=found.result,
        phases=present.phase_bar(found.phases, found.result.duration_s),
        opened=text.section if text else None,
        sections=present.in_tabs(found.sections),
        text=text,
        nights=nights(cells),
        causes=causes,
        images=images,
    )


@blueprint.get("/<test:test>/<int:attempt>/<section>.txt")
def download(run: str, test: str, attempt: int, section: str) -> Response:
    """The whole text of a section as it is kept: a download, which no browser will take for a page."""
    with reading() as connection:
        found = _found(connection, found_run(connection, run).run, test, attempt)
        opened = _section(found, section)
        if opened.absent is not None:
            raise Unknown(f"The section {section} is absent: {opened.absent}")
        text = _raw(connection, found, section)
    response = Response(text, content_type="text/plain; charset=utf-8")
    response.headers.set("Content-Disposition", "attachment", filename=f"{found.result.run}-{section}.txt")
    return response


def _found(connection: Connection, run: str, test: str, attempt: int | None) -> AttemptView:
    found = attempts.attempt(connection, run, test, attempt)
    if found is not None:
        return found
    last = attempts.attempt(connection, run, test) if attempt is not None else None
    if last is None:
        raise unknown_in_run(connection, run, test)
    place = url_for("attempts.show", run=run, test=test)
    raise Unknown(
        f"There was no attempt {attempt} at this test.", [(f"its last attempt, {last.result.attempt}", place)]
    )


def _section(attempt: AttemptView, name: str) -> SectionView:
    known = {section.name: section for section in attempt.sections}
    if name in known:
        return known[name]
    raise Unknown(
        f"This bundle has no section {name!r}.",
        [(near, _address(attempt, near)) for near in nearest_names(name, known) or known],
    )


def _address(attempt: AttemptView, section: str) -> str:
    result = attempt.result
    return url_for("attempts.show", run=result.run, test=result.test, attempt=result.attempt, section=section)


def _opened(connection: Connection, found: AttemptView, name: str | None) -> present.SectionText | None:
    """The section asked for; else, of those that may show the cause, the first that the headline quotes."""
    wanted = [_section(found, name)] if name else present.telling_sections(found)
    texts = []
    for section in wanted:
        raw = _raw(connection, found, section.name) if section.absent is None else b""
        texts.append(present.section_text(section, raw, found.result.headline))
        if texts[-1].first_hit:
            return texts[-1]
    return texts[0] if texts else None


def _raw(connection: Connection, found: AttemptView, section: str) -> bytes:
    """Nothing when the bundle was pruned between two reads."""
    result = found.result
    return attempts.section(connection, result.run, result.test, result.attempt, section) or b""


def _cells(connection: Connection, test: str, lane: str) -> tuple[HistoryCell, ...]:
    """None while the test's first run in the lane goes on."""
    view = tests.test(connection, test, lane)
    return view.strip if view is not None else ()
