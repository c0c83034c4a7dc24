"""One attempt at a test, and the sections of its bundle."""

from __future__ import annotations

import dataclasses
from typing import Any

import sqlalchemy as sa
import zstandard

from pytest_testlab.store.codes import class_name, status_name
from pytest_testlab.store.reads.runs import run_row, seconds, select_results
from pytest_testlab.store.views import AttemptView, ResultView, SectionView

NO_TEST = 0
"""The number of a run's own bundle, in place of a test's."""
LARGEST_SECTION = 256 * 1024 * 1024


def attempt(connection: sa.Connection, run: str, test: str, attempt: int | None = None) -> AttemptView | None:
    """An attempt at a test, the last one if none is named; None when the store doesn't know it."""
    row = run_row(connection, run)
    found = select_results(connection, row, test) if row is not None else []
    if row is None or not found:
        return None
    number = found[0].attempt if attempt is None else attempt
    tried = connection.execute(_ATTEMPT, {"run": row.id, "test": test, "attempt": number}).one_or_none()
    if tried is None:
        return _untried(connection, row, found[0]) if number == found[0].attempt else None
    return AttemptView(
        result=_as_tried(found[0], tried),
        attempts=tried.attempts,
        phases=tried.phases or {},
        sections=tuple(_section(section) for section in tried.manifest or ()),
        redacted=tried.redacted,
        reason=tried.reason,
        retry_of=tried.retry_of,
        image=tried.image or row.image,
    )


_ATTEMPT = sa.text("""
    SELECT tried.*, bundle.manifest, headline.text AS headline, rule.name AS rule,
           (SELECT count(*) FROM result_attempt WHERE run_id = :run AND test_id = test.id) AS attempts
    FROM test
    JOIN result_attempt AS tried ON tried.run_id = :run AND tried.test_id = test.id AND tried.attempt = :attempt
    LEFT JOIN bundle ON bundle.run_id = :run AND bundle.test_id = test.id AND bundle.attempt = :attempt
    LEFT JOIN headline ON headline.id = tried.headline_id
    LEFT JOIN rule ON rule.id = tried.rule_id
    WHERE test.name = :test
""")


def _untried(connection: sa.Connection, run: sa.Row[Any], result: ResultView) -> AttemptView:
    """A test that waits, runs, or never ran: it has no attempt on record; one that never ran has the run's own bundle.

    Why the run had no target for it is all that there is to say of it.
    """
    never = result.status == "not_run"
    sections = tuple(_section(section) for section in _own_manifest(connection, run)) if never else ()
    reason = (run.say or None) if never else None
    return AttemptView(result=result, attempts=0, phases={}, sections=sections, redacted=0, reason=reason)


def _own_manifest(connection: sa.Connection, run: sa.Row[Any]) -> list[dict[str, Any]]:
    statement = sa.text("SELECT manifest FROM bundle WHERE run_id = :run AND test_id = :nothing")
    return list(connection.scalar(statement, {"run": run.id, "nothing": NO_TEST}) or ())


def transcript(connection: sa.Connection, run: str) -> bytes | None:
    """How the targets of a run came to be, a line an event; None while it goes on, or when the store doesn't know."""
    row = run_row(connection, run)
    return None if row is None else _own_section(connection, row, "provisioning")


def _own_section(connection: sa.Connection, run: sa.Row[Any], name: str) -> bytes | None:
    found = connection.execute(_OWN_FRAME, {"run": run.id, "name": name, "nothing": NO_TEST}).one_or_none()
    return None if found is None else _text(found.frame)


_OWN_FRAME = sa.text("""
    SELECT substring(bundle.data FROM CAST(part ->> 'offset' AS int) + 1 FOR CAST(part ->> 'length' AS int)) AS frame
    FROM bundle CROSS JOIN LATERAL jsonb_array_elements(bundle.manifest) AS part
    WHERE bundle.run_id = :run AND bundle.test_id = :nothing AND part ->> 'name' = :name
""")


def _as_tried(result: ResultView, tried: sa.Row[Any]) -> ResultView:
    """The result as this attempt left it, which needn't be the last one."""
    return dataclasses.replace(
        result,
        status=status_name(tried.status),
        failure_class=class_name(tried.failure_class),
        rule=tried.rule,
        headline=tuple(tried.headline.split("\n")) if tried.headline else (),
        attempt=tried.attempt,
        slot=tried.slot,
        target=tried.target,
        started_at=tried.started_at,
        duration_s=seconds(tried.duration_ms),
        reason=tried.reason,
    )


def _section(section: dict[str, Any]) -> SectionView:
    return SectionView(**{name: section.get(name) for name in ("name", "source", "size", "kept", "absent")})  # type: ignore[arg-type]  # as pack_bundle wrote it


def section(connection: sa.Connection, run: str, test: str, attempt: int | None, name: str) -> bytes | None:
    """The text of a section of an attempt's bundle (the last attempt's for None); only its own frame is read.

    b"" when it is there and empty or absent; None when there is no such section.
    """
    row = run_row(connection, run)
    if row is None:
        return None
    values = {"run": row.id, "test": test, "attempt": attempt, "name": name}
    found = connection.execute(_FRAME, values).one_or_none()
    if found is None:
        never = any(result.status == "not_run" for result in select_results(connection, row, test))
        return _own_section(connection, row, name) if never else None
    return _text(found.frame)


def _text(frame: bytes | None) -> bytes:
    return zstandard.ZstdDecompressor().decompress(frame, max_output_size=LARGEST_SECTION) if frame else b""


_FRAME = sa.text("""
    SELECT substring(bundle.data FROM CAST(part ->> 'offset' AS int) + 1 FOR CAST(part ->> 'length' AS int)) AS frame
    FROM test
    JOIN bundle ON bundle.run_id = :run AND bundle.test_id = test.id
    CROSS JOIN LATERAL jsonb_array_elements(bundle.manifest) AS part
    WHERE test.name = :test AND part ->> 'name' = :name
          AND (CAST(:attempt AS int) IS NULL OR bundle.attempt = :attempt)
    ORDER BY bundle.attempt DESC LIMIT 1
""")
