"""Runs that are held at a gate while something is taken away from them, and a PostgreSQL that can be taken away."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
import warm
from tools import ALONE

from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import JournalError, read_segment
from pytest_testlab.store.cluster import Cluster
from pytest_testlab.store.engine import make_engine
from pytest_testlab.store.home import database_account
from pytest_testlab.store.reads import runs
from pytest_testlab.store.schema import metadata

ENTRY = '[app]\nname = "{name}"\n\n[run]\ncommand = "true"\n\n[[checks]]\ncommand = "true"\n'
CONFTEST = """
import os, select, time
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    # An entry called hold-NAME goes on once there is a file go-NAME.
    entry = item.nodeid.split("/")[0]
    if entry.startswith("hold-"):
        (HERE / f"at-{entry[5:]}").touch()
        deadline = time.monotonic() + 120
        while not (HERE / f"go-{entry[5:]}").exists() and time.monotonic() < deadline:
            select.select([], [], [], 0.02)  # libfaketime breaks time.sleep
    return (yield)
"""


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether something comes true in time; waits no longer than it has to."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


@dataclass(kw_only=True)
class Catalog:
    """Entries on the provider and the platform `memory`, and runs of them as processes of their own."""

    folder: Path
    home: Path
    db: str | None = None
    """The store's URL; None = embedded in `home`."""
    env: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        (self.folder / "pytest.ini").write_text("[pytest]\n")
        (self.folder / "conftest.py").write_text(CONFTEST)

    def entries(self, *names: str) -> None:
        """Entries that pass; one called hold-NAME waits for `open(NAME)`."""
        for name in names:
            (self.folder / name).mkdir()
            (self.folder / name / "testlab.toml").write_text(ENTRY.format(name=name))

    def open(self, name: str) -> None:
        """Let the entry hold-NAME go on."""
        (self.folder / f"go-{name}").touch()

    def at(self, name: str, seconds: float = 60) -> None:
        """Wait until the entry hold-NAME waits."""
        assert within(seconds, (self.folder / f"at-{name}").exists), f"no hold-{name} in: {self.output.read_text()}"

    def start(self, *arguments: str, pool: int = 2, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Begin a run; `before` is put before the command."""
        program = ["-m", "pytest", "--testlab-pool", str(pool), "--testlab-provider", "memory"]
        program += ["-p", "no:cacheprovider", *ALONE, *self.options, *arguments]
        with self.output.open("wb") as output:
            options: dict[str, Any] = {
                "cwd": self.folder,
                "env": self.environment(),
                "stdout": output,
                "stderr": subprocess.STDOUT,
                "start_new_session": True,
            }
            return (
                subprocess.Popen([*before, sys.executable, *program], **options)
                if before
                else warm.Popen(program, **options)
            )

    @property
    def output(self) -> Path:
        """What the last run has said so far."""
        return self.folder / "output.txt"

    def says(self, words: str, seconds: float = 60) -> None:
        """Wait until the run has said it."""
        assert within(seconds, lambda: words in self.output.read_text()), self.output.read_text()

    def ends(self, process: subprocess.Popen[bytes], seconds: float = 120) -> tuple[int, str]:
        """The exit code and the output of a run; what doesn't end is killed with all that it started."""
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return code, self.output.read_text()

    def testlab(self, *arguments: str) -> str:
        """What a command of the lab says."""
        done = warm.testlab(*arguments, cwd=self.folder, env=self.environment(), timeout_s=120)
        return done.stdout + done.stderr

    def environment(self) -> dict[str, str]:
        """Of whatever is started for this catalog."""
        env = {**os.environ, "TESTLAB_HOME": str(self.home), **self.env}
        env["PYTEST_DEBUG_TEMPROOT"] = str(self.folder)
        return env if self.db is None else {**env, "TESTLAB_DATABASE_URL": self.db}

    def finished(self) -> set[str]:
        """The entries' tests whose outcome is on disk, of all runs."""
        found = set()
        for folder in RunFolder.all(self.home):
            for path in folder.segments():
                with contextlib.suppress(JournalError):
                    found |= {event["test"] for event, _, _ in read_segment(path) if event["kind"] == "finished"}
        return found

    def statuses(self, run: str = "latest") -> Mapping[str, str]:
        """Test → status of a run in the store."""
        assert self.db is not None
        engine = make_engine(self.db)
        with engine.connect() as connection:
            found = {result.test: result.status for result in runs.results(connection, run)}
        engine.dispose()
        return found

    def attempts(self) -> int:
        """Rows of attempts in the store, of all runs."""
        assert self.db is not None
        engine = make_engine(self.db)
        with engine.connect() as connection:
            count = connection.scalar(sa.text("SELECT count(*) FROM result_attempt"))
        engine.dispose()
        return int(count or 0)


class OwnServer:
    """A PostgreSQL of a test's own, which it may stop, kill and starve."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster(folder=folder / "own", notes=folder / "own-socket", account=database_account())
        self.cluster.make()
        with (self.cluster.data / "postgresql.conf").open("a") as file:
            file.write("max_connections = 8\nsuperuser_reserved_connections = 0\nfsync = off\n")
        self.cluster.start()

    @property
    def url(self) -> str:
        """Its address."""
        return self.cluster.url()

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.cluster.postmaster() is None:
            self.cluster.start()

    def stop(self) -> None:
        """Stop it, cutting off whoever is connected."""
        self.cluster.stop()

    def kill(self) -> None:
        """Kill -9; its children end by themselves."""
        pid = self.cluster.postmaster()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert within(20, lambda: self.cluster.postmaster() is None)

    def bring_to(self, version: str) -> None:
        """Say that its schema is of this version."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("UPDATE alembic_version SET version_num = %s", [version])

    def empty(self) -> None:
        """Take every row out."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            known = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            tables = {table.name for table in metadata.sorted_tables} & {name for (name,) in known}
            if tables:
                connection.execute(f"TRUNCATE {', '.join(sorted(tables))} RESTART IDENTITY CASCADE".encode())
