"""hop3-testing as published, in a folder of its own: what it reads is what ours is held against."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

VERSION = "0.7.5"


@pytest.fixture(scope="session")
def hop3_testing() -> Path:
    """The folder to import it from; fetched once by pip as this machine is set up for it.

    Nothing that it depends on comes along: its catalog needs the standard library alone.
    """
    folder = Path(platformdirs.user_cache_dir("testlab")) / f"hop3-testing-{VERSION}"
    if not (folder / "hop3_testing" / "catalog" / "scanner.py").is_file():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
        command += ["--upgrade", "--target", str(folder), f"hop3-testing=={VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"pip can't fetch hop3-testing {VERSION}:\n{done.stderr[-2000:]}"
    return folder
