"""Whole sessions of the lab, as a user starts them, on a store of their own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import warm
from tools import ALONE

from pytest_testlab.model import ON_SERVER
from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.reads import attempts, runs
from pytest_testlab.store.views import AttemptView, ResultView, RunView


class LabSession:
    """A catalog in a folder, sessions over it, and what they left in the store."""

    def __init__(self, pytester: pytest.Pytester, store: StoreHandle) -> None:
        self.pytester = pytester
        self._store = store
        pytester.makeini("[pytest]\n")

    def entry(self, name: str, text: str = "") -> Path:
        """Write an entry that passes on the platform `memory`, with `text` in place of its [run] and checks."""
        folder = self.pytester.path / name
        folder.mkdir(exist_ok=True)
        body = textwrap.dedent(text) or '[run]\ncommand = "true"\n\n[[checks]]\ncommand = "true"\n'
        head = "" if "[app]" in body else f'[app]\nname = "{name}"\n\n'
        (folder / "testlab.toml").write_text(head + body)
        return folder

    def module(self, name: str, text: str) -> Path:
        """Write a module of test functions."""
        file = self.pytester.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    def conftest(self, text: str) -> None:
        """Write the catalog's conftest.py."""
        self.pytester.makeconftest(textwrap.dedent(text))

    def run(self, *arguments: str, pool: int = 1, provider: str = "memory", stdin: bytes = b"") -> pytest.RunResult:
        """Start a session as a process of its own."""
        options = ("--testlab-pool", str(pool), "--testlab-provider", provider, *ALONE)
        return self._ended(("-m", "pytest", *options, *arguments), stdin)

    def testlab(self, *arguments: str) -> pytest.RunResult:
        """A command of the lab, as a process of its own."""
        return self._ended((*warm.TESTLAB, *arguments))

    def _ended(self, program: tuple[str, ...], stdin: bytes = b"") -> pytest.RunResult:
        began = time.monotonic()
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            code: int = warm.run(program, stdin=given, stdout=out, stderr=err, timeout_s=120)
            said = []
            for file, onto in ((out, sys.stdout), (err, sys.stderr)):
                file.seek(0)
                said.append(file.read().decode(errors="replace").splitlines())
                print(*said[-1], sep="\n", file=onto)  # for whoever reads why a test failed
        with contextlib.suppress(ValueError):
            code = pytest.ExitCode(code)
        return pytest.RunResult(code, *said, time.monotonic() - began)

    def start(self, *arguments: str, pool: int = 1, provider: str = "memory") -> subprocess.Popen[str]:
        """Start a session in a process group of its own, and don't wait for it; its output is one text."""
        options = ("--testlab-pool", str(pool), "--testlab-provider", provider, *ALONE)
        return warm.Popen(
            ["-m", "pytest", *options, *arguments],
            cwd=self.pytester.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, name: str, process: subprocess.Popen[str], timeout_s: float = 60.0) -> None:
        """Wait until a file is there that a conftest or an entry of this catalog writes."""
        deadline = time.monotonic() + timeout_s
        while not (self.pytester.path / name).exists():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, f"{name} did not appear"
            time.sleep(0.02)

    def attempt(self, test: str, number: int) -> AttemptView:
        """An attempt at a test in the latest run."""
        with self._store.engine.connect() as connection:
            found = attempts.attempt(connection, "latest", test, number)
        assert found is not None, f"{test} has no attempt {number}"
        return found

    def section(self, test: str, attempt: int, name: str, run: str = "latest") -> bytes | None:
        """A section of an attempt's bundle."""
        with self._store.engine.connect() as connection:
            return attempts.section(connection, run, test, attempt, name)

    def latest(self) -> RunView:
        """The latest run in the store."""
        with self._store.engine.connect() as connection:
            found = runs.get_run(connection, "latest")
        assert found is not None
        return found

    def on_server(self) -> RunView:
        """The latest run on a kept server, which is never `latest` where there is another."""
        with self._store.engine.connect() as connection:
            return runs.list_runs(connection, mode=ON_SERVER, limit=1)[0]

    def results(self, run: str = "latest") -> Mapping[str, ResultView]:
        """The results of a run, by test."""
        with self._store.engine.connect() as connection:
            return {result.test: result for result in runs.results(connection, run)}

    def statuses(self) -> dict[str, str]:
        """The status of each test of the latest run, by `entry::stage`."""
        return {f"{result.entry}::{result.stage}": result.status for result in self.results().values()}

    def count(self) -> int:
        """How many runs the store holds."""
        with self._store.engine.connect() as connection:
            return len(runs.list_runs(connection))
