"""Whole sessions of the lab, as a user starts them, on a store of their own."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.reads import runs
from pytest_testlab.store.views import ResultView, RunView


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

    def conftest(self, text: str) -> None:
        """Write the catalog's conftest.py."""
        self.pytester.makeconftest(textwrap.dedent(text))

    def run(self, *arguments: str, pool: int = 1, provider: str = "memory", stdin: bytes = b"") -> pytest.RunResult:
        """Start a session as a process of its own."""
        options = ("--testlab-pool", str(pool), "--testlab-provider", provider, "-p", "no:randomly")
        command = (*self.pytester._getpytestargs(), *options, *arguments)
        return self.pytester.run(*command, stdin=stdin, timeout=120)

    def latest(self) -> RunView:
        """The latest run in the store."""
        with self._store.engine.connect() as connection:
            found = runs.get_run(connection, "latest")
        assert found is not None
        return found

    def results(self) -> Mapping[str, ResultView]:
        """The results of the latest run, by test."""
        with self._store.engine.connect() as connection:
            return {result.test: result for result in runs.results(connection, "latest")}

    def statuses(self) -> dict[str, str]:
        """The status of each test of the latest run, by `entry::stage`."""
        return {f"{result.entry}::{result.stage}": result.status for result in self.results().values()}

    def count(self) -> int:
        """How many runs the store holds."""
        with self._store.engine.connect() as connection:
            return len(runs.list_runs(connection))
