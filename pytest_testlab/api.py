"""The Python API: what `pytest_testlab.scan`, `run`, `collect` and `query` are.

It never reads what a session prints: a run is started under a name that is known beforehand, and looked up in the
store.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from pytest_testlab.cli.ini import ini_settings
from pytest_testlab.errors import UsageError
from pytest_testlab.model import Bundle, Entry, Server, SshAddress, Status, new_run_id
from pytest_testlab.options import Settings, resolve
from pytest_testlab.plugins import plugin_manager
from pytest_testlab.protocols import Target
from pytest_testlab.store.views import AttemptView, DiffView, ResultView, RunView, TestView

PathLike = str | os.PathLike[str]
COLLECT_WITHIN_S = 20.0
STOP_WITHIN_S = 150.0
"""For a session that was asked to stop: it keeps the bundles of what runs, and gives its servers back."""
OUTPUT_BYTES = 1024 * 1024
LATEST = "latest"


def scan(*paths: PathLike) -> list[Entry]:
    """Every entry at or below folders, or in single `testlab.toml` files, in the order of their paths.

    Nothing is run and nothing is written. Raises `pytest_testlab.errors.CatalogError`, whose `problems` are all that is
    wrong with any of the files, each with file, line and key.
    """
    from pytest_testlab.catalog.scan import scan as scan_folders

    catalog = scan_folders(*(Path(path) for path in paths))
    catalog.require_sound()
    return list(catalog.entries)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A run that has ended, as the store has it."""

    run: RunView
    results: tuple[ResultView, ...]
    """The last attempt at each test."""
    exit_code: int
    """0: all is well. 1: something failed. 2: interrupted. 4: usage. 6: no proven blank target."""
    output: str = field(repr=False)
    """What the session printed, for people; of more than 1 MiB the end."""

    @property
    def ok(self) -> bool:
        """Whether nothing failed, errored, was blocked or never ran."""
        return self.exit_code == 0

    @property
    def failures(self) -> tuple[ResultView, ...]:
        """The tests that failed, or met an infrastructure fault."""
        return tuple(result for result in self.results if result.status in (Status.FAILED, Status.ERROR))


def run(
    *paths: PathLike,
    pool: int = 1,
    provider: str | None = None,
    platform: str | None = None,
    image: str | None = None,
    suite: Sequence[str] = (),
    priority: Sequence[str] = (),
    budget: str | None = None,
    branch: str | None = None,
    arguments: Sequence[str] = (),
    timeout_s: float | None = None,
    db: str | None = None,
    home: PathLike | None = None,
) -> RunResult:
    """Run catalogs in a child process, by the same pytest session that `testlab run` starts, and wait for its end.

    Options are those of the command line, and what isn't given comes from the environment and the ini file, as there.
    `arguments` are pytest's own (`("-k", "radicale")`). After `timeout_s` seconds the session is asked to stop in
    order, and the run is `interrupted`; so it is when waiting for it is interrupted. Raises `UsageError` when there was
    no run to look up: an unknown provider, a flag that pytest doesn't know, no store.
    """
    settings = _settings(db, home)
    options = {
        "pool": str(pool),
        "provider": provider,
        "platform": platform,
        "image": image,
        "suite": ",".join(suite),
        "priority": ",".join(priority),
        "budget": budget,
        "branch": branch,
    }
    flags = [f"--testlab-{name}={value}" for name, value in options.items() if value]
    name = new_run_id(dt.datetime.now(dt.UTC))
    command = [sys.executable, "-P", "-m", "pytest", *flags, *arguments, *(os.fspath(path) for path in paths)]
    with tempfile.TemporaryFile() as log:
        exit_code = _session(command, _environment(name, settings), log, timeout_s)
        output = _end_of(log)
    with _opened(settings) as found:
        view = found.run(name)
        if view is None:
            raise UsageError(f"the session ended with exit code {exit_code} before it had a run:\n{output.strip()}")
        return RunResult(run=view, results=tuple(found.results(name)), exit_code=exit_code, output=output)


def collect(server: SshAddress | Target, *, secrets: Iterable[str] = (), within_s: float = COLLECT_WITHIN_S) -> Bundle:
    """A bundle of a server as it is now: what the lab and its plugins keep of any target, bounded and masked.

    The server is one that SSH leads to, or a `Target` that a provider connected. No app is looked at, and nothing is
    changed there. A section that can't be had is in the bundle with the reason. `secrets` are masked beside what has a
    known shape. `within_s` bounds the way there, and the collection, in seconds each. Raises
    `pytest_testlab.errors.InfraError` when there is no line to the server.
    """
    from pytest_testlab.diagnosis.bundle import diagnose
    from pytest_testlab.diagnosis.collect import collect as collect_sections
    from pytest_testlab.diagnosis.redact import Redactor

    hook = plugin_manager().hook
    with _line_to(server, within_s) as target:
        sections = [part for parts in hook.testlab_sections(target=target, deployment=None) for part in parts or ()]
        raw = collect_sections(target, sections, deadline_s=within_s)
    shapes = (shape for shapes in hook.testlab_redactors() for shape in shapes or ())
    return diagnose(
        entry="", stage="", failure=None, static=False, raw=raw, redactor=Redactor(secrets, shapes), rules=()
    )


class Query:
    """Typed reads of a store; what `query` gives. A run is named as `testlab runs` names it, or `latest`."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def runs(self, *, limit: int = 20, mode: str | None = None) -> list[RunView]:
        """Runs, newest first."""
        from pytest_testlab.store.reads import runs

        return runs.list_runs(self._connection, limit=limit, mode=mode)

    def run(self, run: str = LATEST) -> RunView | None:
        """A run; None where there is none of that name."""
        from pytest_testlab.store.reads import runs

        return runs.get_run(self._connection, run)

    def results(self, run: str = LATEST) -> list[ResultView]:
        """The last attempt at each test of a run; none for a run that isn't there."""
        from pytest_testlab.store.reads import runs

        return runs.results(self._connection, run)

    def diff(self, run: str | None = None) -> DiffView | None:
        """What changed in a run (the latest) since each test's own last outcome in its lane; None without that run."""
        from pytest_testlab.store.reads import diff

        return diff.diff(self._connection, run)

    def why(self, test: str, *, run: str | None = None, attempt: int | None = None) -> AttemptView | None:
        """An attempt (the last) at a test in a run (the latest that has it), with its bundle's manifest; else None.

        `test` is a test's id, as in `ResultView.test`.
        """
        from pytest_testlab.store.reads import attempts, names

        where = run or names.latest_run_with(self._connection, test)
        return None if where is None else attempts.attempt(self._connection, where, test, attempt)

    def section(self, test: str, name: str, *, run: str | None = None, attempt: int | None = None) -> bytes | None:
        """A section of the bundle of an attempt, masked; None where there is none of that name."""
        from pytest_testlab.store.reads import attempts

        found = self.why(test, run=run, attempt=attempt)
        if found is None:
            return None
        return attempts.section(self._connection, found.result.run, test, found.result.attempt, name)

    def history(self, test: str, *, lane: str | None = None) -> TestView | None:
        """A test over its last nights in a lane (the one that it ran in last); None for an unknown test or lane."""
        from pytest_testlab.store.reads import tests

        return tests.test(self._connection, test, lane)


@contextlib.contextmanager
def query(*, db: str | None = None, home: PathLike | None = None) -> Iterator[Query]:
    """Open the store for reading: `with query() as store: store.diff()`.

    `db` is the store's URL and `home` the lab's folder; what isn't given comes from the environment and the ini file,
    and without either the embedded store is started. Raises `UsageError` when it can't be reached.
    """
    with _opened(_settings(db, home)) as found:
        yield found


# --- inside ---------------------------------------------------------------------------------------------------------


def _settings(db: str | None, home: PathLike | None) -> Settings:
    settings = resolve({"db": db}, ini_settings())
    return settings if home is None else replace(settings, home=os.fspath(home))


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[Query]:
    from pytest_testlab.store.embedded import open_store

    with open_store(settings) as store, store.engine.connect() as connection:
        yield Query(connection)


def _environment(run: str, settings: Settings) -> dict[str, str]:
    """A session's own, without a pytest's around this process; the store's URL stays off the command line."""
    from pytest_testlab.session.provenance import PYTHON, RUN, TRIGGER

    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    given: Mapping[str, str | None] = {"TESTLAB_DATABASE_URL": settings.db, "TESTLAB_HOME": settings.home}
    return {**kept, **{name: value for name, value in given.items() if value}, RUN: run, TRIGGER: PYTHON}


def _session(command: Sequence[str], environ: Mapping[str, str], log: IO[bytes], timeout_s: float | None) -> int:
    process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return _stop(process)
    except BaseException:
        _stop(process)
        raise


def _stop(process: subprocess.Popen[Any]) -> int:
    """Have a session end in order, or, once that takes too long, as killed: what it recorded is taken in later."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _end_of(log: IO[bytes]) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - OUTPUT_BYTES))
    return log.read().decode(errors="replace")


@contextlib.contextmanager
def _line_to(server: SshAddress | Target, within_s: float) -> Iterator[Target]:
    """A target as it is, or a line of our own that is closed afterwards."""
    if not isinstance(server, SshAddress):
        yield server
        return
    from pytest_testlab.target.ssh import SshTarget

    target = SshTarget(Server(name=server.host, provider="", ssh=server), connect_within_s=within_s)
    try:
        yield target
    finally:
        target.close()
