"""What the page on Hetzner Cloud says of the stand-in, typed as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SHOWN = "make -s standin"


def test_the_three_variables_lead_the_provider_to_it(tmp_path: Path) -> None:
    """In a shell of its own: started in the background, its lines exported, asked by the lab; then it ends.

    `make` itself is left out, as it would look after the virtual environment first: what it starts is started.
    """
    page = (ROOT / "docs" / "guide" / "hetzner.md").read_text(encoding="utf-8")
    (script,) = re.findall(rf"^```sh\n({SHOWN} .*?)^```$", page, re.DOTALL | re.MULTILINE)
    started = f"{sys.executable} -m standin --hosts none"
    assert "-m standin" in (ROOT / "Makefile").read_text(encoding="utf-8")
    given = {name: value for name, value in os.environ.items() if not name.startswith(("HCLOUD_", "TESTLAB_"))}
    environ = {
        **given,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "tests" / "support"),
        "TESTLAB_HOME": str(tmp_path / "home"),
    }
    done = subprocess.run(
        ["bash", "-c", f"set -e; trap 'kill $!; wait' EXIT\n{script.replace(SHOWN, started)}"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was left behind" in done.stdout
    assert "testlab reap --provider hetzner --dry-run" in done.stderr
