"""One case of the drill of a pool whose servers are whole hosts. `make drill-pool` plays a dozen, and many others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import hostyard
import pytest

SUPPORT = Path(__file__).parents[2] / "support"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts, and makes networks")
def test_a_controller_that_is_killed_leaves_no_host_on_the_machine() -> None:
    """While it deletes a server: one pass of the reaper later there is no host, mount, network or table of theirs."""
    alone = not hostyard.others()
    command = [sys.executable, "-m", "drill", "--pool", "--seed", "1", "--json"]
    command += ["--only", "at delete (during no. 1; hetzner on nspawn"]
    environ = {**os.environ, "PYTHONPATH": str(SUPPORT)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert (report["nspawn"], report["no_nspawn"]) == (1, "")
    assert report["cases"] == []
    assert done.returncode == 0
    if alone and not hostyard.others():
        assert hostyard.bridges() == set()
