"""`make drill` and `make drill-pool`: kills and faults without end, and afterwards nothing is lost, doubled or leaked.

Each case is a small session of its own; a few run at once. What is killed, where and when follows from the seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import sqlalchemy as sa
from drill import judge, plan, pool_plan, table
from drill.case import RANDOM, Case, Verdict

from pytest_testlab.options import Settings
from pytest_testlab.store import migrate
from pytest_testlab.store.embedded import open_store
from pytest_testlab.store.engine import make_engine

CASE_WITHIN_S = 400.0
"""A case that hangs ends itself before."""
STRIKES = 4
"""How often a case is played at most that comes too late for its victim; each time at half the moment before."""
SUPPORT = str(Path(__file__).parent.parent)


class Drill:
    """Plays cases, each on a database of its own from a few that are used again and again."""

    def __init__(self, url: str, folder: Path, jobs: int, *, keep: bool, cell: str = "drill.cell") -> None:
        """`cell` is the module that plays a case."""
        self._cell_module = cell
        self._folder = folder
        self._keep = keep
        self._jobs = jobs
        self._server = make_engine(url)
        self._databases: SimpleQueue[str] = SimpleQueue()
        self._names = [f"drill_{os.getpid()}_{number}" for number in range(jobs)]
        self._playing: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    @contextmanager
    def databases(self) -> Iterator[None]:
        """Make them, and remove them at the end."""
        try:
            for name in self._names:
                self._say(f'CREATE DATABASE "{name}"')
                self._databases.put(name)
            yield
        finally:
            for name in self._names:
                self._say(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            self._server.dispose()

    def _say(self, statement: str) -> None:
        with self._server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(statement))

    def play(self, cases: Sequence[Case]) -> Iterator[tuple[Case, Verdict]]:
        """Each case with its verdict, as they end."""
        with ThreadPoolExecutor(self._jobs) as threads:
            futures = {threads.submit(self._play, case): case for case in cases}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                for future in futures:
                    future.cancel()
                self._stop()

    def _play(self, case: Case) -> Verdict:
        """Play a case; one whose victim was through already is played again, earlier: machines differ in speed."""
        for strike in range(STRIKES):
            verdict = self._strike(case, self._folder / f"{case.number}-{strike}")
            if verdict.struck or not verdict.ok or not (case.point == RANDOM or case.when == "during"):
                break
            case = dataclasses.replace(case, delay_s=case.delay_s / 2)
        return verdict

    def _strike(self, case: Case, folder: Path) -> Verdict:
        folder.mkdir(mode=0o711)
        database = self._databases.get()
        try:
            verdict = self._cell(case, folder, self._fresh(database))
        finally:
            self._databases.put(database)
        judge.settle(folder / "home")
        if verdict.ok and not self._keep:
            shutil.rmtree(folder, ignore_errors=True)
        return verdict

    def _fresh(self, database: str) -> str:
        """A database that nobody uses any more, with its tables."""
        self._say(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        url = self._server.url.set(database=database).render_as_string(hide_password=False)
        engine = make_engine(url)
        with self._lock:  # Alembic keeps what it works on in globals
            migrate.upgrade(engine)
        engine.dispose()
        return url

    def _cell(self, case: Case, folder: Path, url: str) -> Verdict:
        command = [sys.executable, "-m", self._cell_module, case.to_json(), str(folder), url]
        with (folder / "cell.log").open("wb") as log:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=SUPPORT, start_new_session=True)
        with self._lock:
            self._playing.add(child)
        try:
            output, _ = child.communicate(timeout=CASE_WITHIN_S)
            return Verdict(**json.loads(output))
        except (subprocess.TimeoutExpired, ValueError) as error:
            child.terminate()
            child.wait(30)
            why = (folder / "cell.log").read_text().strip().splitlines()[-1:] or [type(error).__name__]
            return Verdict(number=case.number, wrong=[f"the drill itself failed: {why[0]}"], folder=str(folder))
        finally:
            with self._lock:
                self._playing.discard(child)

    def _stop(self) -> None:
        with self._lock:
            for child in self._playing:
                child.terminate()  # it ends what it started


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, print the table, and say by the exit code whether everything held."""
    options = _parser().parse_args(arguments)
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    chosen = pool_plan if options.pool else plan
    cases = chosen.short(seed) if options.short else chosen.full(seed)
    no_nspawn = pool_plan.why_no_nspawn() if any(case.hosts == "nspawn" for case in cases) else ""
    if no_nspawn:
        cases = [dataclasses.replace(case, hosts="loopback") for case in cases]
    if options.only:
        cases = [case for case in cases if options.only in case.say]
    folder = Path(tempfile.mkdtemp(prefix="drill-", dir="/tmp"))  # short: a socket's path has 107 bytes
    folder.chmod(0o711)
    print(f"drill: seed {seed}, {len(cases)} cases, in {folder}", file=sys.stderr, flush=True)
    with open_store(Settings(home=str(folder), db=options.store)) as store:
        cell = "drill.pool_cell" if options.pool else "drill.cell"
        drill = Drill(store.url, folder, options.jobs, keep=options.keep, cell=cell)
        try:
            with drill.databases():
                played = list(_told(drill.play(cases), len(cases)))
        except KeyboardInterrupt:
            print(f"drill: interrupted; what was played is in {folder}", file=sys.stderr)
            return 130
    report = table.Report(seed=seed, played=played, no_nspawn=no_nspawn)
    print(json.dumps(report.as_json(), indent=2) if options.json else report.text())
    if report.ok and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if report.ok else 1


def _told(played: Iterator[tuple[Case, Verdict]], of: int) -> Iterator[tuple[Case, Verdict]]:
    """Tell the person who waits what is through, and how long the rest will take."""
    began = time.monotonic()
    for number, (case, verdict) in enumerate(played, 1):
        left = (time.monotonic() - began) / number * (of - number)
        word = "ok" if verdict.ok and verdict.struck else "missed" if verdict.ok else "WRONG"
        print(
            f"{number:>4}/{of}  {word:<6} {verdict.seconds:5.1f} s  about {left / 60:.1f} min left  {case.say}",
            file=sys.stderr,
            flush=True,
        )
        yield case, verdict


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="drill", description=__doc__)
    parser.add_argument("--seed", type=int, help="which victims, when and where; a random one unless given")
    parser.add_argument("--pool", action="store_true", help="of a cloud's servers, their leases, and the reaper")
    parser.add_argument("--short", action="store_true", help="a dozen cases rather than all")
    parser.add_argument("--only", metavar="WORDS", help="only cases whose line holds these words")
    parser.add_argument("--jobs", type=int, default=2, help="how many sessions at once (default: 2)")
    parser.add_argument("--store", metavar="URL", help="a PostgreSQL to make databases in; an own one unless given")
    parser.add_argument("--keep", action="store_true", help="keep all folders, not only those of cases that went wrong")
    parser.add_argument("--json", action="store_true", help="print the report for programs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
