"""The short drill: a dozen `kill -9`s of real sessions. `make drill` plays hundreds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from pytest_testlab.store.embedded import StoreHandle

SUPPORT = Path(__file__).parents[1] / "support"


def test_whatever_is_killed_nothing_is_lost(store_server: StoreHandle) -> None:
    """Controller, worker and target, at points and at a moment: nothing is lost, doubled, leaked or left behind."""
    command = [sys.executable, "-m", "drill", "--short", "--seed", "1", "--json", "--store", store_server.url]
    environ = {**os.environ, "PYTHONPATH": str(SUPPORT)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["cases"] == []
    assert done.returncode == 0
    assert report["kills"] == 12
    assert {row["victim"] for row in report["rows"]} == {"controller", "worker", "target"}
