"""The disk of the lab is full in mid-run, or at its start: it ends in order, and what was finished is kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from faulty import Catalog, within

from pytest_testlab.store.binaries import find_binaries

SMALL_DISK = 'mount -t tmpfs -o size="$1",mode=0711 tmpfs "$2" && shift 2 && exec "$@"'
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


# PostgreSQL refuses to be root, also in a namespace: in one more it is an account that every machine has.
SMALL_SERVER = """
as_somebody='unshare -U --map-user=1 --map-group=1'
$as_somebody "$1/initdb" --pgdata "$2/data" --username testlab --auth trust >"$3/log" 2>&1 || exit
cat >>"$2/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$3'
autovacuum = off
fsync = off
END
exec $as_somebody "$1/postgres" -D "$2/data" >>"$3/log" 2>&1
"""


@pytest.fixture
def small_server(short: Path) -> Iterator[str]:
    """The URL of a PostgreSQL on a disk of 100 MB of its own."""
    disk, socket = short / "disk", short / "socket"
    disk.mkdir()
    socket.mkdir()
    programs = Path(find_binaries()["postgres"]).parent
    command = [*on_a_small_disk("100m", disk), "sh", "-c", SMALL_SERVER, "sh", programs, disk, socket]
    server = subprocess.Popen(command, cwd="/", env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, umask=0o077)
    url = f"postgresql://testlab@/{{}}?host={socket}"

    def answers() -> bool:
        assert server.poll() is None, (socket / "log").read_text()
        try:
            with psycopg.connect(url.format("postgres"), autocommit=True) as connection:
                connection.execute("CREATE DATABASE testlab")
        except psycopg.OperationalError:
            return False
        return True

    assert within(60, answers)
    yield url.format("testlab")
    server.send_signal(signal.SIGINT)
    server.wait(90)


def test_a_store_whose_disk_is_full(catalog: Catalog, small_server: str) -> None:
    """The run goes on without, and once there is room the store has every result and every bundle."""
    catalog.db = small_server
    with (catalog.folder / "conftest.py").open("a") as file:
        file.write(FILLING)
    catalog.env["FILL"] = "nothing"
    catalog.entries("alpha", "hold-one", "hold-two")
    run = catalog.start()
    catalog.at("one")
    catalog.at("two")
    with psycopg.connect(small_server, autocommit=True) as connection:
        connection.execute("CREATE UNLOGGED TABLE ballast (text text)")
        for rows in (2000, 200, 20, 1):  # pages that an INSERT had taken before it failed stay taken
            with contextlib.suppress(psycopg.errors.DiskFull):
                while True:
                    more = "INSERT INTO ballast SELECT repeat('x', 1900) FROM generate_series(1, %s)"
                    connection.execute(more, [rows])
        catalog.open("one")
        catalog.says("No space left on device")
        catalog.says("): recording to disk only; ")
        connection.execute("DROP TABLE ballast")
        connection.execute("CHECKPOINT")
        assert within(60, lambda: catalog.statuses().get("hold-one/testlab.toml::check") == "passed")
        catalog.open("two")
        code, output = catalog.ends(run)
        assert code == 0, output
        assert set(catalog.statuses().values()) == {"passed"}
        bundles = connection.execute("SELECT count(*), min(octet_length(data)) > 30000 FROM bundle WHERE test_id > 0")
        assert bundles.fetchone() == (6, True)


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
