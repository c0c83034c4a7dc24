"""A catalog with each kind of outcome, plain tests beside it, and sessions over both."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.reads import runs
from pytest_testlab.store.views import ResultView, RunView

SECRET = "kR7-hidden-9mZq2vXw"
ENTRIES = {
    "good": '[run]\ncommand = "true"\n[[checks]]\ncommand = "echo fine"\nstdout = "fine"\n',
    "bad": '[run]\ncommand = "true"\n[[checks]]\nname = "the sum"\ncommand = "false"\n',
    "expected": 'expects-failure = "build-failure"\n[build]\ncommands = ["false"]\n[run]\ncommand = "true"\n'
    '[[checks]]\ncommand = "true"\n',
    "broken": '[build]\ncommands = ["exit 3"]\n[run]\ncommand = "true"\n[[checks]]\ncommand = "true"\n',
    "slow": '[build]\ncommands = ["sleep 2"]\n[run]\ncommand = "true"\n[[checks]]\ncommand = "true"\n',
    "leaky": '[run]\ncommand = "true"\n[env]\nTOKEN = { secret = "token" }\n[[checks]]\nscript = "tells.py"\n',
}
OUTCOMES = {
    "good::install": "passed",
    "good::check": "passed",
    "bad::install": "passed",
    "bad::check": "failed",
    "expected::install": "passed",
    "expected::check": "skipped",
    "broken::install": "failed",
    "broken::check": "blocked",
    "slow::install": "passed",
    "slow::check": "passed",
    "leaky::install": "passed",
    "leaky::check": "failed",
}
TELLS = 'import os\nprint("the token is", os.environ["TOKEN"])\nraise SystemExit(1)\n'


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session that has ended."""

    folder: Path
    output: str
    exit_code: int
    run: RunView
    results: list[ResultView]
    """In the order in which they began."""

    @property
    def statuses(self) -> dict[str, str]:
        """The status of each test of the catalog, by `entry::stage`."""
        return {f"{result.entry}::{result.stage}": result.status for result in self.results if result.entry}

    @property
    def order(self) -> list[str]:
        """The tests that ran, as they began."""
        began = [result for result in self.results if result.started_at is not None]
        began.sort(key=lambda result: (result.started_at, result.stage != "install"))
        return [f"{result.entry}::{result.stage}" for result in began]


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """A folder with the entries, and the files beside them."""

    folder: Path
    store: StoreHandle
    files: dict[str, str] = field(default_factory=dict)

    def write(self) -> Catalog:
        """Write it all."""
        for name, text in ENTRIES.items():
            folder = self.folder / "catalog" / name
            folder.mkdir(parents=True)
            (folder / "testlab.toml").write_text(f'[app]\nname = "{name}"\n{text}')
        (self.folder / "catalog" / "leaky" / "tells.py").write_text(TELLS)
        (self.folder / "pytest.ini").write_text("[pytest]\n")
        for name, text in self.files.items():
            (self.folder / name).write_text(text)
        return self

    def run(self, *arguments: str, pool: int, provider: str = "memory") -> Session:
        """A session over the whole folder."""
        lab = ("--testlab-pool", str(pool), "--testlab-provider", provider)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
        environ = {
            **kept,
            "TESTLAB_HOME": str(self.store.home),
            "TESTLAB_DATABASE_URL": self.store.url,
            "TESTLAB_SECRET_TOKEN": SECRET,
        }
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *lab, *arguments],
            cwd=self.folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        with self.store.engine.connect() as connection:
            run = runs.get_run(connection, "latest")
            assert run is not None, done.stdout
            results = runs.results(connection, run.run)
        return Session(
            folder=self.folder, output=done.stdout, exit_code=done.returncode, run=run, results=list(results)
        )
