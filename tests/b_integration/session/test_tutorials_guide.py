"""docs/guide/tutorials.md, tested as written."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from sessions import LabSession

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "tutorials.md"


def example() -> str:
    found = re.search(r"^````markdown\n(.*?)^````$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_passes_and_fails_as_the_guide_says(lab: LabSession, unused_port: int) -> None:
    """The page as it stands there passes; with the guide's own slip it fails with the guide's own headline."""
    text = example().replace("8017", str(unused_port))
    folder = lab.pytester.path / "docs"
    folder.mkdir()
    (folder / "first-page.md").write_text(text)
    (folder / "slip.md").write_text(text.replace("name: first-page", "name: slip").replace("echo ", "ehco "))
    result = lab.run(provider="local")
    assert lab.statuses() == {"first-page::tutorial": "passed", "slip::tutorial": "failed"}, result.stdout.str()
    headline = "\n".join(lab.results()["docs/slip.md::tutorial"].headline).replace("slip.md", "first-page.md")
    assert headline.replace(str(unused_port), "8017") + "\n" in GUIDE.read_text(encoding="utf-8")


@pytest.fixture
def unused_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
