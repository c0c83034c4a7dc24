"""A lab with a lab.toml, a catalog that waits for a word, and schedulers as a user starts them."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import warm
from testlab_server.scheduler.folder import NightFolder
from testlab_server.scheduler.jobs import Jobs
from testlab_server.scheduler.service import Scheduler
from tools import ALONE

from pytest_testlab.labfile.format import LabFile, read_lab_file
from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.reads import nights, runs
from pytest_testlab.store.views import NightView, RunView

WITHIN_S = 90.0
SCHEDULE = """
[{name}]
cron = "{cron}"
time-zone = "{zone}"
catalog = ["apps"]
provider = "memory"
{more}
"""
ENTRY = '[app]\nname = "one"\n\n[run]\ncommand = "true"\n\n[[checks]]\ncommand = "true"\n'
WAITS = """
import pathlib, time


def pytest_runtest_setup():
    deadline = time.monotonic() + 120
    while not pathlib.Path("go").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
"""


class ScheduledLab:
    """Its cron is far away: what is due is said by the test, to APScheduler's own job."""

    def __init__(self, folder: Path, home: Path, store: StoreHandle) -> None:
        self.folder = folder
        self.home = home
        self.store = store
        self._started: list[subprocess.Popen[str]] = []
        self._own: list[Scheduler] = []
        self.heard: list[str] = []
        (folder / "apps" / "one").mkdir(parents=True)
        (folder / "apps" / "one" / "testlab.toml").write_text(ENTRY)
        (folder / "pytest.ini").write_text(f"[pytest]\naddopts = {' '.join(ALONE)} -p no:cacheprovider\n")

    # --- what is to be played ---

    def schedules(self, *, cron: str = "30 2 1 1 *", zone: str = "Europe/Berlin", **more: str) -> LabFile:
        """Write a lab.toml with these schedules; `nightly` is [schedule] itself."""
        names = {name: "schedule" if name == "nightly" else f"schedule.{name}" for name in more}
        tables = [SCHEDULE.format(name=names[name], cron=cron, zone=zone, more=text) for name, text in more.items()]
        (self.folder / "lab.toml").write_text("".join(tables))
        return read_lab_file(self.folder / "lab.toml")

    def wait_for_a_word(self) -> None:
        """From now on a session waits until `go`."""
        (self.folder / "conftest.py").write_text(WAITS)

    def go(self) -> None:
        """Let sessions that wait go on."""
        (self.folder / "go").touch()

    def due(
        self, lab: LabFile, name: str = "nightly", *, ago_s: float = 0.0, at: dt.datetime | None = None
    ) -> dt.datetime:
        """Let a schedule have been due, at a moment or so long ago; its job is planned first, unless it is known."""
        at = at or dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(seconds=ago_s)
        jobs = Jobs(self.store.engine, lambda name, due: None)
        jobs.plan(lab.schedules)
        jobs.modify_job(name, next_run_time=at)
        return at

    # --- schedulers ---

    @property
    def environ(self) -> Mapping[str, str]:
        return {**os.environ, "TESTLAB_HOME": str(self.home), "TESTLAB_DATABASE_URL": self.store.url}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`testlab schedule`, or another command, as a process; its output goes to a file that `said` reads."""
        with (self.folder / f"said-{len(self._started)}").open("w") as said:
            process = warm.Popen(
                [*warm.TESTLAB, *(arguments or ("schedule",))],
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._started.append(process)
        return process

    def said(self, process: subprocess.Popen[str]) -> str:
        return (self.folder / f"said-{self._started.index(process)}").read_text()

    def tell(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of `testlab`, to its end."""
        return warm.testlab(*arguments, cwd=self.folder, env=self.environ, timeout_s=WITHIN_S)

    def scheduler(self, lab: LabFile) -> Scheduler:
        """A scheduler in this process, which does something only when `look` is called."""
        settings = Settings(db=self.store.url, home=str(self.home))
        store = StoreHandle(self.store.url, self.store.engine, None, self.home)
        made = Scheduler(lab, store, settings, say=self.heard.append)
        self._own.append(made)
        return made

    # --- what came of it ---

    def nights(self) -> list[NightView]:
        """All that were due, newest first."""
        with self.store.engine.connect() as connection:
            return nights.recent(connection, 100)

    def states(self) -> dict[str, str]:
        """The state of each schedule's last night."""
        return {night.schedule: night.state for night in reversed(self.nights())}

    def runs(self) -> list[RunView]:
        with self.store.engine.connect() as connection:
            return runs.list_runs(connection)

    def log(self, night: NightView) -> Path:
        return NightFolder(self.home, night.schedule, night.due_at).log

    def until(self, done: Callable[[], object], scheduler: Scheduler | None = None) -> None:
        """Wait for a condition, letting a scheduler of this process look about meanwhile."""
        deadline = time.monotonic() + WITHIN_S
        while not done():
            assert time.monotonic() < deadline, "\n".join(["it didn't come to that", *self.all_said()])
            if scheduler is not None:
                scheduler.look()
            time.sleep(0.1)

    def all_said(self) -> list[str]:
        """What there is to say when a test fails: nights, schedulers, sessions."""
        logs = [self.log(night).read_text()[-3000:] for night in self.nights() if self.log(night).exists()]
        return [*map(repr, self.nights()), *self.heard, *map(self.said, self._started), *logs]

    def end(self) -> None:
        """End what was started, sessions too."""
        self.go()
        stop = threading.Event()
        stop.set()
        for scheduler in self._own:
            scheduler.run(stop)
        for process in self._started:
            if process.poll() is None:
                process.terminate()
            process.wait(90)
        deadline = time.monotonic() + WITHIN_S
        while any(NightFolder(self.home, night.schedule, night.due_at).runs() for night in self.nights()):
            assert time.monotonic() < deadline, "a night does not end"
            time.sleep(0.1)


def killed(process: subprocess.Popen[str]) -> None:
    """kill -9."""
    process.send_signal(signal.SIGKILL)
    process.wait(90)
