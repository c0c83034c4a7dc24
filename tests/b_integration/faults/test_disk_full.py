"""The disk of the lab is full in mid-run, or at its start: it ends in order, and what was finished is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from faulty import Catalog

SMALL_DISK = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'
FILLING = """

import resource

from pytest_testlab.hookspecs import hookimpl
from pytest_testlab.model import Section

HOW, _, WHO = os.environ["FILL"].partition(" in the ")


@hookimpl
def testlab_sections(target, deployment):
    return [Section(name="noise", source="noise", content=os.urandom(30_000))]


def fill():
    if HOW == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
        return
    with Path(os.environ["TESTLAB_HOME"], "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            pass


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item, nextitem):
    if WHO == "worker" and item.nodeid == "alpha/testlab.toml::check":
        fill()


def pytest_runtest_logreport(report):
    in_worker = os.environ.get("PYTEST_XDIST_WORKER")
    if WHO == "controller" and not in_worker and report.when == "call" and report.nodeid == "alpha/testlab.toml::check":
        fill()
"""


def on_a_small_disk(size: str, home: Path) -> tuple[str, ...]:
    """What to put before a command, so that it sees a disk of that size at `home`, which goes when it ends."""
    # Root has no need of a namespace of users, in which it could not pass the folders of PostgreSQL's account any more.
    before = ("unshare", "-m" if os.geteuid() == 0 else "-Urm", "sh", "-c", SMALL_DISK, "sh")
    tried = shutil.which("unshare") and subprocess.run(
        [*before, "1m", home, "true"], capture_output=True, timeout=30, check=False
    )
    if not tried or tried.returncode != 0:
        pytest.skip("this kernel lets nobody but root mount a disk of his own")
    return (*before, size, str(home))


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("fill", ["disk in the worker", "disk in the controller", "limit in the worker"])
def test_a_disk_that_fills_in_mid_run(catalog: Catalog, fill: str, pool: int) -> None:
    """One line says what is full and how much was to come; each finished result is in the store, the rest never ran."""
    with (catalog.folder / "conftest.py").open("a") as file:
        file.write(FILLING)
    catalog.env["FILL"] = fill
    catalog.entries("alpha", *(f"more-{number}" for number in range(6)))
    before = () if fill.startswith("limit") else on_a_small_disk("8m", catalog.home)
    code, output = catalog.ends(catalog.start(pool=pool, before=before))
    assert code == 1, output
    full = "a file of the lab may grow no further (ulimit -f)" if fill.startswith("limit") else "the lab's disk is full"
    (line,) = [line for line in output.splitlines() if line.startswith("  aborted: ")]
    assert line.startswith(f"  aborted: {full}: ")
    assert " bytes of " in line
    assert line.endswith("could not be written; what was finished before is kept: make room there, then start again")
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output
    assert "testlab recover" not in output
    came = catalog.statuses()
    assert came["alpha/testlab.toml::check"] == "passed"
    assert set(came.values()) == {"passed", "not_run"}
    assert len(came) == 14
    assert '"state": "aborted"' in catalog.testlab("runs", "--json")


def test_a_disk_that_is_full_at_the_start(catalog: Catalog) -> None:
    """Nothing is begun, and the line says how much is needed."""
    catalog.entries("alpha")
    code, output = catalog.ends(catalog.start(before=on_a_small_disk("512k", catalog.home)))
    assert code == 4, output
    (line,) = [line for line in output.splitlines() if line.strip()]
    assert line.startswith(f"ERROR: no run can be recorded below {catalog.home}/runs: No space left on device")
    assert "a run needs 1,048,576 bytes at the least" in line
