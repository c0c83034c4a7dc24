"""`python -m drill.cell`: one case from its start to its verdict, in a process of its own.

That process is a child subreaper: whatever the session started, however it detached itself and whatever it did to its
environment, stays a descendant, so no orphan can hide.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa
from drill import catalogs, judge, strike
from drill.case import CONTROLLER, POSTGRES, RANDOM, RECOVERY, Case, Verdict
from testlab_local import processes

from pytest_testlab.errors import TestlabError
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import JournalError, read_segment
from pytest_testlab.recording.recover import recover
from pytest_testlab.store import migrate
from pytest_testlab.store.embedded import EmbeddedPostgres
from pytest_testlab.store.engine import make_engine
from pytest_testlab.store.schema import metadata

HANGS_AFTER_S = 120.0
"""A session of some seconds that isn't over by then never will be."""
WORKERS_WITHIN_S = 30.0
"""For what a killed session left to notice and end."""
SUPPORT = str(Path(__file__).parent.parent)


class Cell:
    """A session, what was done to it, and what came of it."""

    hangs_after_s = HANGS_AFTER_S

    def __init__(self, case: Case, folder: Path, url: str) -> None:
        self.case = case
        self.folder = folder
        self.url = url
        self.home = folder / "home"
        self.scene = strike.Scene(folder / "scene")
        self.secret = f"marker-{random.Random(case.number).getrandbits(64):016x}"
        self.verdict = Verdict(number=case.number, folder=str(folder))
        self._session: subprocess.Popen[bytes] | None = None
        self._embedded: EmbeddedPostgres | None = None

    def run(self) -> Verdict:
        """Play the case."""
        began = time.monotonic()
        for place in (self.home, self.scene.folder, self.folder / "catalog"):
            place.mkdir(mode=0o711)
        catalogs.write(self.folder / "catalog", self.case)
        if self.case.victim == POSTGRES:
            self._embedded = EmbeddedPostgres(self.home)
            self.url = self._embedded.url
        engine = make_engine(self.url)
        try:
            if self._embedded is None:
                self._empty(engine)
            code = self._play(engine)
            self._bring_home(engine, code)
        finally:
            engine.dispose()
            if self._embedded is not None:
                self._embedded.release()
            self.verdict.orphans += self._end_orphans()
            self.verdict.seconds = time.monotonic() - began
        return self.verdict

    # --- before -------------------------------------------------------------------------------------------------------

    def _empty(self, engine: sa.Engine) -> None:
        with engine.begin() as connection:
            if self.case.point == "migration" and not self.case.beside:
                connection.execute(sa.text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
            else:
                tables = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
                connection.execute(sa.text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))

    def _environ(self, **more: str) -> dict[str, str]:
        told = {"case": dataclasses.asdict(self.case), "folder": str(self.scene.folder)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TESTLAB_", "PYTEST_"))}
        store = {} if self._embedded is not None else {"TESTLAB_DATABASE_URL": self.url}
        return {
            **kept,
            **store,
            "TESTLAB_HOME": str(self.home),
            "TESTLAB_SECRET_DRILL_MARKER": self.secret,
            "PYTHONPATH": SUPPORT,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "DRILL_STRIKE": json.dumps(told),
            **more,
        }

    def _start(self, name: str, provider: str, pool: int, **more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pytest", "-p", "xdist", "-p", "pytest_testlab.plugin", "-p", "drill.strike"]
        command += ["--testlab-provider", provider, "--testlab-pool", str(pool), "-p", "no:cacheprovider"]
        command += [f"--junitxml={self.folder / name}.xml", str(self.folder / "catalog")]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder / "catalog",
                env=self._environ(**more),
                start_new_session=True,
            )

    # --- the session --------------------------------------------------------------------------------------------------

    def _play(self, engine: sa.Engine) -> int:
        session = self._session = self._start("session", self.case.provider, self.case.pool)
        beside = None
        if self.case.beside:
            self._until(lambda: bool(self.scene.targets()) and self._has_started(), 30.0)
            beside = self._start("beside", "memory", 1, DRILL_BESIDE="1")
        if self.case.point == RANDOM:
            self._strike_at_a_moment()
        if self._embedded is not None and self._until(self.scene.struck.exists, HANGS_AFTER_S):
            time.sleep(self.case.delay_s)
            self._reap()
            self._embedded.start()
        if self.case.act == "SIGINT twice" and self._until(self.scene.struck.exists, HANGS_AFTER_S):
            self._again()
        if self.case.act == "store away" and self._until(self.scene.struck.exists, HANGS_AFTER_S):
            self._store_away(engine)
        for each in filter(None, (session, beside)):
            self._end_of(each)
        self.verdict.struck = self.scene.struck.exists() and self.scene.struck.read_text() != ""
        return int(session.returncode)

    def _end_of(self, session: subprocess.Popen[bytes]) -> None:
        try:
            session.wait(self.hangs_after_s)
        except subprocess.TimeoutExpired:
            self.verdict.wrong.append(f"the session hangs; it was killed after {self.hangs_after_s:g} s")
            session.kill()
            session.wait()

    def _over(self) -> bool:
        return self._session is None or self._session.poll() is not None

    def _until(self, met: Callable[[], bool], within_s: float) -> bool:
        """Wait for something, or for the session's end."""
        deadline = time.monotonic() + within_s
        while not met():
            if self._over() or time.monotonic() > deadline:
                return met()
            time.sleep(0.01)
        return True

    def _has_started(self) -> bool:
        """Whether a test has begun."""
        return any(event["kind"] == "started" for event, _ in self._events())

    def _strike_at_a_moment(self) -> None:
        """Moments count from when the session's process has said who it is: before that nothing was begun."""
        self._until(lambda: bool(self.scene.pids(CONTROLLER)), 30.0)
        if self._embedded is not None:
            self._until(self._has_started, 30.0)  # without a store no run begins
        self._until(lambda: False, self.case.delay_s)
        victim: list[int] = []

        def seen() -> bool:
            pid = strike.find(self.scene, self.case)
            if pid is not None:
                victim.append(pid)
            return bool(victim)

        if self._until(seen, 30.0):
            strike.hit(self.scene, self.case, victim[0])

    def _again(self) -> None:
        self._until(lambda: False, self.case.delay_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._session.pid, signal.SIGINT)  # type: ignore[union-attr]

    def _store_away(self, engine: sa.Engine) -> None:
        """The session's database refuses everybody for a while, as it does while PostgreSQL is restarted."""
        engine.dispose()
        server = make_engine(str(sa.make_url(self.url).set(database="postgres").render_as_string(False)))
        name = sa.make_url(self.url).database
        with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'))
            kill = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
            connection.execute(kill, {"name": name})
            self.scene.struck.write_text("{}")
            time.sleep(self.case.delay_s)
            connection.execute(sa.text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'))
        server.dispose()

    # --- afterwards ---------------------------------------------------------------------------------------------------

    def _events(self) -> Iterator[tuple[judge.Event, bytes]]:
        for run in RunFolder.all(self.home):
            for path in run.segments():
                with contextlib.suppress(JournalError):
                    for event, blob, _ in read_segment(path):
                        yield {**event, "run": run.run}, blob

    def _bring_home(self, engine: sa.Engine, code: int) -> None:
        """Recover as the case wants it, and hold what came of it against what was on disk before."""
        self._quiet()
        if self._embedded is not None:
            self._embedded.start()  # the session may have stopped it, as the last one out
        if self.case.act == "torn tail" and self.verdict.struck:
            self._tear()
        before = [event for event, _ in self._events()]
        closed = {run.run for run in RunFolder.all(self.home) if run.closed}
        self._recover(engine)
        reported = self.scene.folder / "reported"
        ledger = [json.loads(line) for line in reported.read_text().splitlines()] if reported.exists() else []
        found = judge.Evidence(
            case=self.case,
            code=code,
            events=before,
            reported=[] if self.case.act == "torn tail" else ledger,
            closed=closed,
        )
        judge.results(found, engine, self.verdict)
        judge.state(found, engine, self.verdict)
        self._judge_servers()
        judge.secrets(self.secret, self.folder, engine, self.verdict)

    def _judge_servers(self) -> None:
        judge.servers(self.home, self.verdict)

    def _quiet(self) -> None:
        """Wait for the end of whatever the session left; what stays is an orphan."""
        deadline = time.monotonic() + WORKERS_WITHIN_S
        while self._left() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _left(self) -> list[processes.Process]:
        """What descends from this cell; the embedded store is no part of the session."""
        among = processes.all_processes()
        store = None if self._embedded is None else self._embedded.status().pid
        spared = {store, *self._spared(among)}
        spared |= set() if store is None else {one.pid for one in processes.descendants(store, among)}
        return [one for one in processes.descendants(os.getpid(), among) if one.pid not in spared]

    def _spared(self, among: dict[int, processes.Process]) -> set[int]:
        """Processes that are this cell's own and no part of the session."""
        return set()

    def _reap(self) -> None:
        """Let go of what was adopted and has ended, as init would."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if self._session is not None and ended.si_pid == self._session.pid:
                    return
                os.waitpid(ended.si_pid, 0)

    def _recover(self, engine: sa.Engine) -> None:
        if self.case.home == "next start":
            self._start("next", "memory", 1, DRILL_BESIDE="1").wait(HANGS_AFTER_S)
            return
        if self.case.home == "command":
            self._command("recover").wait(HANGS_AFTER_S)
            return
        if self.case.home == RECOVERY:
            began = self._command("recover")
            time.sleep(random.Random(self.case.number).uniform(0.2, 1.5))
            began.kill()
            began.wait()
        try:
            if self.case.point == "migration":
                migrate.upgrade(engine)
            recover(engine, self.home, wait_s=5.0)
            again = recover(engine, self.home)
        except TestlabError as error:
            self.verdict.wrong.append(f"recovery failed: {error}")
        else:
            self.verdict.doubled += [f"{one.run} was recovered twice" for one in again]

    def _command(self, *words: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).with_name("testlab")), *words]
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            return subprocess.Popen(command, env=self._environ(), stdout=log, stderr=log)

    def _tear(self) -> None:
        """Cut a segment of the journal within its last record, as a machine that lost its power may leave it."""
        cuts = []
        for run in RunFolder.all(self.home):
            for path in run.segments():
                ends = [end for _, _, end in read_segment(path)]
                if len(ends) > 1:
                    cuts.append((path, ends[-2], ends[-1]))
        if cuts:
            chance = random.Random(self.case.number)
            path, start, end = chance.choice(cuts)
            os.truncate(path, chance.randrange(start + 1, end))

    def _end_orphans(self) -> list[str]:
        """Name and kill whatever is left of the session."""
        left = self._left()
        names = [f"{one.pid} ({_command(one.pid)})" for one in left]
        while left:
            for one in left:
                processes.send(one, signal.SIGKILL)
            time.sleep(0.02)
            left = self._left()
        return names


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:100]
    except OSError:
        return "gone meanwhile"


def _leave_nothing(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def play(cell: type[Cell]) -> int:
    """Play the case given as arguments: JSON, folder, URL of its own database; print the verdict."""
    case, folder, url = Case.from_json(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    processes.become_subreaper()
    signal.signal(signal.SIGTERM, _leave_nothing)
    os.environ["TESTLAB_HOME"] = str(folder / "home")
    print(json.dumps(cell(case, folder, url).run().as_json()))
    return 0


if __name__ == "__main__":
    sys.exit(play(Cell))
