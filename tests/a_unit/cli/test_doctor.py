"""`testlab doctor`, where nothing is there yet."""

from __future__ import annotations

import json
import sys
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


def test_a_provider_that_lacks_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no fault of the machine, unless that provider is the one of the settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TESTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HCLOUD_TOKEN", "x" * 64)
    monkeypatch.setitem(sys.modules, "hcloud", None)
    needs = "the provider hetzner needs hcloud: pip install 'pytest-testlab[hetzner]'"
    for provider, fine in (("local", True), ("hetzner", False)):
        monkeypatch.setenv("TESTLAB_PROVIDER", provider)
        main(["doctor", "--json"])
        found = {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)}
        assert found["providers"]["ok"] is fine
        assert f"not hetzner: {needs}" in found["providers"]["say"]
    assert main(["reap", "--provider", "hetzner"]) == 2
    assert needs in capsys.readouterr().err
