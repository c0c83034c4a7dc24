"""The folders of nights: closed, locked, bounded, and removed when they are too many or too old."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from pathlib import Path

import pytest
from testlab_server.scheduler.folder import NightFolder, prune
from testlab_server.scheduler.keeper import bound
from testlab_server.scheduler.start import KEEPER

from pytest_testlab.errors import InfraError
from pytest_testlab.labfile.format import Schedule

NOW = dt.datetime(2026, 11, 21, 2, 30, tzinfo=dt.UTC)


def schedule(**more: int) -> Schedule:
    return Schedule(name="nightly", cron="30 2 * * *", zone="UTC", catalog=("apps",), **more)  # type: ignore[arg-type]


def made(home: Path, days_ago: int, name: str = "nightly") -> NightFolder:
    night = NightFolder(home, name, NOW - dt.timedelta(days=days_ago))
    os.close(night.begin())
    return night


def test_the_oldest_go_first(tmp_path: Path) -> None:
    """So many are kept of each schedule; another one's don't count."""
    nights = [made(tmp_path, days) for days in range(4)]
    other = made(tmp_path, 3, "nightly-2")
    removed = prune(tmp_path, [schedule(keep_logs=2)], NOW)
    assert sorted(removed) == sorted(night.path.name for night in nights[2:])
    assert [night.path.exists() for night in (*nights, other)] == [True, True, False, False, True]


def test_the_old_go(tmp_path: Path) -> None:
    """Whatever their number."""
    young, old = made(tmp_path, 1), made(tmp_path, 10)
    assert prune(tmp_path, [schedule(keep_logs_days=7)], NOW) == [old.path.name]
    assert young.path.exists()


def test_a_night_that_runs_keeps_its_folder(tmp_path: Path) -> None:
    """However old it is; and what is no night's folder is left alone."""
    night = NightFolder(tmp_path, "nightly", NOW - dt.timedelta(days=400))
    lock = night.begin()
    (tmp_path / "nights" / "notes").mkdir()
    assert night.runs()
    assert prune(tmp_path, [schedule()], NOW) == []
    os.close(lock)
    assert not night.runs()
    assert prune(tmp_path, [schedule()], NOW) == [night.path.name]
    assert (tmp_path / "nights" / "notes").exists()


def test_a_folder_in_use_is_not_begun_again(tmp_path: Path) -> None:
    """The lock is whose the night is."""
    lock = made(tmp_path, 0).begin()
    with pytest.raises(InfraError, match="is in use"):
        NightFolder(tmp_path, "nightly", NOW).begin(within_s=0.05)
    os.close(lock)


def test_the_keeper_notes_how_it_ended(tmp_path: Path) -> None:
    """Output and exit code; and a command that can't be started is an ending as well."""
    night = NightFolder(tmp_path, "nightly", NOW)
    environ = {**os.environ, "TESTLAB_RUN": "20261121-0230-k3f9"}
    for command, code, said in (
        (["sh", "-c", "echo hello; exit 3"], 3, "hello"),
        (["/no/such"], 127, "can't be started"),
    ):
        lock = night.begin()
        subprocess.run(
            [*KEEPER, str(night.path), str(lock), *command], env=environ, pass_fds=(lock,), timeout=60, check=True
        )
        os.close(lock)
        ended = night.ended("20261121-0230-k3f9")
        assert ended is not None
        assert ended.exit_code == code
        assert night.ended("20261121-0230-aaaa") is None
        assert said in night.log.read_text()


def test_a_log_is_bounded(tmp_path: Path) -> None:
    """Its beginning and its end are kept, and it says what was left out."""
    path = tmp_path / "log"
    path.write_bytes(b"first\n" + b"." * 5000 + b"last\n")
    log = os.open(path, os.O_RDWR | os.O_APPEND)
    bound(log, largest=6000, head=1000, tail=100)
    assert path.stat().st_size == 5011
    bound(log, largest=2000, head=1000, tail=100)
    os.write(log, b"later\n")
    os.close(log)
    text = path.read_bytes()
    assert text.startswith(b"first\n")
    assert "[… 3911 bytes left out …]".encode() in text
    assert text.endswith(b"last\nlater\n")
    assert len(text) < 1200
