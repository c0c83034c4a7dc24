"""The page on platform tests, as written, on real targets."""

from __future__ import annotations

import re
from pathlib import Path

from sessions import LabSession

PAGE = Path(__file__).parents[3] / "docs" / "guide" / "platform-tests.md"


def test_the_example_passes(lab: LabSession) -> None:
    """Its entry and its functions pass with two targets, in a night, after the install of the platform."""
    entry, module = (
        found[1]
        for found in (re.search(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.S) for kind in ("toml", "python"))
        if found
    )
    lab.module("apps/hello/testlab.toml", entry)
    lab.module("platform/test_front_door.py", module)
    result = lab.run("--testlab-mode", "nightly", "apps", "platform", pool=2, provider="local")
    assert result.ret == 0, result.outlines
    assert lab.statuses() == {
        "platform::install": "passed",
        "hello::install": "passed",
        "hello::check": "skipped",
        "front_door::test_a_page_comes_through": "passed",
        "front_door::test_apps_live_side_by_side": "passed",
        "front_door::test_the_shell_is_posix": "passed",
    }
    install = lab.section("platform::install", 1, "install") or b""
    assert b"installed: platform procfile" in install
    assert {result.suite for test, result in lab.results().items() if test.startswith("platform")} == {"platform"}
