"""lab.toml: what a lab plays by itself, when, and where its server listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_testlab.hookspecs import hookimpl


def _lab_schema() -> Mapping[str, object]:
    from pytest_testlab.labfile.json_schema import lab_schema  # not for a session, nor for its workers

    return lab_schema()


@hookimpl
def testlab_schemas() -> Mapping[str, Callable[[], Mapping[str, object]]]:
    """`testlab schema lab`: of a lab.toml."""
    return {"lab": _lab_schema}
