"""The guide's first page, typed as it stands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from console import Typed, commands
from tools import tool

from pytest_testlab.store.embedded import StoreHandle

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "first-entry.md"


@pytest.fixture
def environ(store: StoreHandle, lab_home: Path) -> dict[str, str]:
    """A new user's, with `testlab` on PATH as an activated virtual environment has it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "TESTLAB_HOME": str(lab_home), "TESTLAB_DATABASE_URL": store.url}


def serves(typed: Typed, folder: Path, environ: dict[str, str]) -> None:
    """The dashboard prints its link, and ends at Ctrl-C."""
    process = subprocess.Popen(
        typed.command.split(), cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if re.search(r"/login/\S+", line):
            break
    process.send_signal(signal.SIGINT)
    printed += process.communicate(timeout=150)[0]
    assert typed.fits(printed), printed


def test_a_demo_and_a_tutorial_pass_as_they_are(tmp_path: Path, environ: dict[str, str]) -> None:
    """What `testlab new demo` and `testlab new tutorial` write, with the defaults."""
    tool("nginx", "nginx-light")
    made = "testlab new demo tour && testlab new tutorial steps && testlab run tour steps -q"
    done = subprocess.run(
        ["sh", "-c", made], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_page_as_written(tmp_path: Path, environ: dict[str, str]) -> None:
    """From an empty folder to a failing app that is explained: each command does, and prints, what the page shows.

    So what `testlab new app` writes passes as it is, on the provider and the platform that are taken by default.
    """
    tool("nginx", "nginx-light")
    page = commands(PAGE)
    assert len(page) >= 7
    for typed in page:
        if typed.command.startswith("testlab serve"):
            serves(typed, tmp_path, environ)
            continue
        done = subprocess.run(
            ["sh", "-c", typed.command], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert typed.fits(done.stdout), f"$ {typed.command}\n{done.stdout}{done.stderr}"
        assert done.stderr == ""
