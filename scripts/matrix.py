"""Runs tests/matrix on each Python of this machine, with the lowest versions allowed, and beside other plugins.

Each has an environment of its own.

Takes the network (PyPI), no root, and about a minute. `--only WORD` runs the cells that have the word in their name.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOWEST = (3, 11)
PLUGINS = (
    "allure-pytest",
    "pytest-asyncio",
    "pytest-cov",
    "pytest-html",
    "pytest-playwright",
    "pytest-randomly",
    "pytest-rerunfailures",
    "pytest-timeout",
)
INSTALL_WITHIN_S = 300
TEST_WITHIN_S = 900
AT_ONCE = 2


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One environment, and what is run in it."""

    name: str
    python: Path
    requirements: tuple[str, ...]
    """Arguments of `uv pip install`."""
    test: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What came of a cell."""

    cell: Cell
    ok: bool
    seconds: float
    output: str
    versions: str


def pythons() -> dict[tuple[int, int], Path]:
    """Each minor version of Python from the lowest that is supported, as found on PATH, in /usr and below pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders = [Path("/usr/bin"), Path("/usr/local/bin"), *map(Path, os.get_exec_path()), *pyenv.glob("*/bin")]
    found: dict[tuple[int, int], Path] = {}
    for folder in folders:
        for file in sorted(folder.glob("python3.*")) if os.access(folder, os.R_OK) else []:
            match = re.fullmatch(r"python3\.(\d+)", file.name)
            version = (3, int(match[1])) if match else (0, 0)
            if version >= LOWEST and version not in found and _works(file):
                found[version] = file
    return dict(sorted(found.items()))


def _works(python: Path) -> bool:
    """Whether it runs by itself; pyenv's shims fail for versions that aren't chosen."""
    command = [python, "-c", "import ssl, venv"]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def cells(wheel: Path) -> list[Cell]:
    """What there is to run on this machine, what takes longest first."""
    found = pythons()
    (lowest, oldest), (highest, newest) = min(found.items()), max(found.items())
    this = str(wheel)
    made = [
        Cell(
            name=f"plugins, Python {_dotted(highest)}",
            python=newest,
            requirements=(this, *PLUGINS),
            test="test_plugins.py",
        ),
        Cell(
            name=f"lowest versions, Python {_dotted(lowest)}",
            python=oldest,
            requirements=("--resolution", "lowest-direct", "-r", str(ROOT / "pyproject.toml")),
            test="test_versions.py",
        ),
    ]
    for version, python in found.items():
        name = f"newest versions, Python {_dotted(version)}"
        made.append(Cell(name=name, python=python, requirements=(this,), test="test_versions.py"))
    return made


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def run(cell: Cell, folder: Path, wheel: Path) -> Ended:
    """Build the cell's environment and run its tests."""
    start = time.monotonic()
    place = folder / re.sub(r"\W+", "-", cell.name)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("TESTLAB_", "PYTEST_"))}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # without its bytecode each session would compile all plugins anew
    environ |= {"MATRIX": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "UV_CACHE_DIR": str(folder / "cache")}
    test = str(ROOT / "tests" / "matrix" / cell.test)
    uv, python = [sys.executable, "-m", "uv"], str(place / "bin" / "python")
    steps = (
        ([*uv, "venv", "-q", "--python", str(cell.python), str(place)], INSTALL_WITHIN_S),
        ([*uv, "pip", "install", "-q", "--python", python, *cell.requirements], INSTALL_WITHIN_S),
        ([*uv, "pip", "install", "-q", "--python", python, "--no-deps", str(wheel)], INSTALL_WITHIN_S),
        ([python, "-P", "-m", "pytest", "-q", test, "--basetemp", str(place / "tmp")], TEST_WITHIN_S),
    )
    output, ok = "", True
    for command, within_s in steps:
        ok, said = _step(command, environ, folder, within_s)
        output += said
        if not ok:
            break
    versions = _step([*uv, "pip", "freeze", "--python", python], environ, folder, 60)[1]
    shutil.rmtree(place, ignore_errors=True)
    return Ended(cell=cell, ok=ok, seconds=time.monotonic() - start, output=output, versions=versions)


def _step(command: Sequence[str], environ: dict[str, str], folder: Path, within_s: float) -> tuple[bool, str]:
    try:
        done = subprocess.run(
            command,
            env=environ,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return False, f"{error}\n{error.output or ''}"
    return done.returncode == 0, done.stdout


def main() -> int:
    """Run all cells, two at once, and print a line for each; exit 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="WORD", default="", help="only cells with this in their name")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="testlab-matrix-") as name:
        folder = Path(name)
        build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*build, "--wheel-dir", str(folder), str(ROOT)], check=True, timeout=INSTALL_WITHIN_S)
        (wheel,) = folder.glob("*.whl")
        wanted = [cell for cell in cells(wheel) if args.only in cell.name]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            failed = [ended for ended in pool.map(lambda cell: _told(run(cell, folder, wheel)), wanted) if not ended.ok]
    for ended in failed:
        sys.stdout.write(f"\n== {ended.cell.name}\n{ended.versions}\n{ended.output}\n")
    return 1 if failed or not wanted else 0


def _told(ended: Ended) -> Ended:
    versions = dict(re.findall(r"^([\w.-]+)==(\S+)$", ended.versions, re.MULTILINE))
    main = ", ".join(f"{name} {versions.get(name, 'absent')}" for name in ("pytest", "pytest-xdist", "sqlalchemy"))
    sys.stdout.write(f"{'ok    ' if ended.ok else 'FAILED'} {ended.cell.name:<32} {ended.seconds:4.0f} s  {main}\n")
    sys.stdout.flush()
    return ended


if __name__ == "__main__":
    sys.exit(main())
