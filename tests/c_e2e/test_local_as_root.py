"""The lab on a machine's root account: nothing of the apps and of PostgreSQL runs as root, and nothing stays behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it is about what root's processes drop to")

SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"uid {os.getuid()}".encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
ENTRY = """
[app]
name = "who"
addons = ["postgresql"]

[run]
command = "exec python3 server.py"
ready = { http = "/", within = "20s" }

[[checks]]
http = "/"
contains = "uid "

[[checks]]
command = 'test "$(id -u)" != 0'
"""


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def session(home: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    entry = tmp_path / "who"
    entry.mkdir()
    (entry / "testlab.toml").write_text(ENTRY)
    (entry / "server.py").write_text(SERVER)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "--testlab-pool", "2", "-p", "no:cacheprovider"]
    env = {**os.environ, "TESTLAB_HOME": str(home)}
    return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180, check=False)


def test_apps_drop_root_and_nothing_stays(session: subprocess.CompletedProcess[str], home: Path) -> None:
    """The app, its database and its front door run as an unprivileged account; afterwards all of it is gone."""
    assert session.returncode == 0, session.stdout + session.stderr
    assert "2 passed" in session.stdout
    mark = str(home)
    left = [p.cmdline() for p in psutil.process_iter() if any(mark in part for part in _cmdline(p))]
    assert left == []


def test_bundles_are_closed_to_others(session: subprocess.CompletedProcess[str], home: Path) -> None:
    """Another account of the machine can list neither runs nor the store, nor connect to its socket."""
    assert session.returncode == 0, session.stdout + session.stderr
    for closed in ("runs", "pg"):
        done = subprocess.run(
            ["runuser", "-u", "nobody", "--", "ls", str(home / closed)], capture_output=True, check=False, timeout=30
        )
        assert done.returncode != 0, f"{closed} can be listed by another account"


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
