"""The guide's page on nights, typed as it stands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from console import Typed, commands
from scheduled import ScheduledLab
from tools import tool

PAGE = Path(__file__).parents[3] / "docs" / "guide" / "nights.md"


def plays(typed: Typed, lab: ScheduledLab, environ: dict[str, str]) -> None:
    """The scheduler says when it will begin, and ends at Ctrl-C."""
    process = subprocess.Popen(
        typed.command.split(), cwd=lab.folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if "next due" in line:
            break
    process.send_signal(signal.SIGINT)
    printed += process.communicate(timeout=150)[0]
    assert process.returncode == 0
    assert typed.fits(printed), printed


def test_the_page_as_written(lab: ScheduledLab) -> None:
    """From an entry to a lab that plays it: each command does, and prints, what the page shows."""
    tool("nginx", "nginx-light")
    (lab.folder / "pytest.ini").unlink()
    (example,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (lab.folder / "lab.toml").write_text(example)
    environ = {**lab.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    page = commands(PAGE)
    assert len(page) >= 7
    for typed in page:
        if typed.command == "testlab schedule":
            plays(typed, lab, environ)
            continue
        done = subprocess.run(
            ["sh", "-c", typed.command], cwd=lab.folder, env=environ, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert typed.fits(done.stdout), f"$ {typed.command}\n{done.stdout}{done.stderr}"
