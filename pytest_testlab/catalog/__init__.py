"""The catalog: entries read from testlab.toml, as pytest nodes.

This module is imported wherever the lab's plugins are loaded, so the work is imported inside the hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_testlab.hookspecs import hookimpl


def _entry_schema() -> Mapping[str, object]:
    from pytest_testlab.catalog.json_schema import entry_schema

    return entry_schema()


@hookimpl
def testlab_schemas() -> Mapping[str, Callable[[], Mapping[str, object]]]:
    """`testlab schema entry`: of a testlab.toml."""
    return {"entry": _entry_schema}
