"""`testlab doctor`, where nothing is there yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_testlab.cli import main


def test_a_home_that_is_not_there_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would be made, which is said; looking leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TESTLAB_HOME", str(tmp_path / "no" / "home"))
    monkeypatch.delenv("TESTLAB_DATABASE_URL", raising=False)
    assert main(["doctor", "--json"]) in (0, 1)
    found = {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert found["home"] == {
        "check": "home",
        "ok": True,
        "say": f"{tmp_path}/no/home isn't there yet; the first run would make it",
    }
    assert list(tmp_path.iterdir()) == []
