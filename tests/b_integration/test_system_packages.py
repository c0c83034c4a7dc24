"""What `make` says of the machine's packages, with nothing to install them: no apt-get is within its reach."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "system-packages.sh"
TOOLS = ("sh", "ls", "id", "nginx", "ss", "curl", "chromium", "sshd", "npm", "hcloud", "faketime")


def ask(folder: Path, *arguments: str, tools: tuple[str, ...]) -> tuple[int, str]:
    """The exit code and what it said, with these programs on PATH and no others; `/bin/true` plays the absent ones."""
    for name in tools:
        (folder / name).symlink_to(shutil.which(name) or "/bin/true")
    done = subprocess.run(
        ["/bin/sh", SCRIPT, *arguments],
        env={"PATH": str(folder), "PYTHON": "/bin/true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_a_machine_that_has_everything(tmp_path: Path) -> None:
    """Not a word; PostgreSQL is found where Debian keeps it, off PATH."""
    assert ask(tmp_path, "test", tools=(*TOOLS, "git")) == (0, "")


def test_what_the_lab_needs_is_asked_for_in_one_line(tmp_path: Path) -> None:
    """And nothing goes on without it."""
    say = "before this can go on, please install git (Debian's names)\n"
    assert ask(tmp_path, tools=TOOLS) == (1, say)


def test_what_only_the_tests_use_is_no_condition(tmp_path: Path) -> None:
    """The demo doesn't ask for it, and the tests go on without, saying how to have it."""
    tools = tuple(name for name in (*TOOLS, "git") if name not in ("chromium", "npm"))
    assert ask(tmp_path, tools=tools) == (0, "")
    (tmp_path / "tests").mkdir()
    say = "some tests will be skipped; for all of them, please install chromium npm (Debian's names)\n"
    assert ask(tmp_path / "tests", "test", tools=tools) == (0, say)
