"""The first line of the summary: what changed, and never that nothing did above something that did."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_testlab.session.show.style import Style
from pytest_testlab.session.show.summary import _against, _of_diff
from pytest_testlab.store.views import DiffItem, DiffView


class Writer:
    """Keeps the lines that are written."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str, **_: bool) -> None:
        self.lines.append(text)


def item(status: str = "failed", **more: Any) -> DiffItem:
    return DiffItem(test="a::install", status=status, failure_class=None, headline=(), **more)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "  nothing changed since 20261129-0230-aaaa"),
        ({"still_failing": (item(),)}, "  nothing changed since 20261129-0230-aaaa"),
        ({"still_failing": (item(changed_class=True),)}, "  since 20261129-0230-aaaa:"),
        ({"errors": (item("error"),)}, "  since 20261129-0230-aaaa:"),
        ({"blocked": (item("blocked"),)}, "  since 20261129-0230-aaaa:"),
        ({"not_run": (item("not_run"),)}, "  since 20261129-0230-aaaa:"),
        ({"missing": (item("passed"),)}, "  since 20261129-0230-aaaa:"),
        ({"newly_fixed": (item("passed"),)}, "  since 20261129-0230-aaaa:"),
    ],
)
def test_what_changed(changed: dict[str, tuple[DiffItem, ...]], said: str) -> None:
    """Infrastructure errors, blocked tests and those that weren't run are changes as well; an old failure is none."""
    found = DiffView(run=None, previous="20261129-0230-aaaa", **changed)  # type: ignore[arg-type]
    writer = Writer()
    _against(found, "", _of_diff(found), writer, Style(colour=False))
    assert writer.lines == [said]
