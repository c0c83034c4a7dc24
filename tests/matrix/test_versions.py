"""What must hold in each environment of the matrix: any Python, the lowest and the newest of each dependency."""

from __future__ import annotations

from pathlib import Path

import pytest
from matrix import OUTCOMES, Catalog
from tools import tool

from pytest_testlab.cli.new import make
from pytest_testlab.store.embedded import StoreHandle

FILES = {"test_beside.py": "def test_plain():\n    assert True\n"}


@pytest.mark.parametrize("pool", [1, 2])
def test_outcomes(tmp_path: Path, store: StoreHandle, pool: int) -> None:
    """Each kind of outcome is what it is on every version, and nothing warns."""
    session = Catalog(folder=tmp_path, store=store, files=FILES).write().run("-W", "error", pool=pool)
    assert session.statuses == OUTCOMES, session.output
    assert session.exit_code == 1
    assert "warning" not in session.output.lower()
    assert "Traceback" not in session.output
    assert session.run.state == "finished"


def test_a_real_app(tmp_path: Path, store: StoreHandle) -> None:
    """Real SSH, uploads, processes, nginx: what `testlab new app` writes passes on this machine, and nothing warns."""
    tool("nginx", "nginx-light")
    make("app", "shop", tmp_path)
    session = Catalog(folder=tmp_path, store=store).run("-W", "error", pool=1, provider="local")
    assert session.statuses == {"shop::install": "passed", "shop::check": "passed"}, session.output
    assert session.exit_code == 0
