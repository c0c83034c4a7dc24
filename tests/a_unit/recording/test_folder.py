"""A run's folder tells who works on it."""

import stat
from pathlib import Path

import pytest

from pytest_testlab.errors import UsageError
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import Journal


def test_a_folder_is_live_as_long_as_its_controller_or_a_writer(tmp_path: Path) -> None:
    """Workers that outlive their controller keep the run alive."""
    folder = RunFolder.create(tmp_path, "r1")
    seen = RunFolder.open(tmp_path, "r1")
    journal = Journal(folder.path, "gw0")
    assert seen.is_live()
    folder.close()
    assert seen.is_live()
    journal.close()
    assert not seen.is_live()


def test_a_lock_is_had_by_one(tmp_path: Path) -> None:
    """Two recoveries never work on one run."""
    folder = RunFolder.create(tmp_path, "r1")
    other = RunFolder.open(tmp_path, "r1")
    assert not other.try_lock()
    folder.close()
    assert other.try_lock()
    other.close()


def test_folders_are_private_and_listed(tmp_path: Path) -> None:
    """Only the owner may enter; unfinished folders don't show."""
    RunFolder.create(tmp_path, "r2").close()
    RunFolder.create(tmp_path, "r1").close()
    (tmp_path / "runs" / ".new-x").mkdir()
    assert [folder.run for folder in RunFolder.all(tmp_path)] == ["r1", "r2"]
    assert stat.S_IMODE((tmp_path / "runs" / "r1").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "runs").stat().st_mode) == 0o700


def test_a_name_is_taken_once_and_is_no_path(tmp_path: Path) -> None:
    """A run never writes into another's folder, or out of the home."""
    RunFolder.create(tmp_path, "r1").close()
    with pytest.raises(UsageError, match="the run r1 has a folder already"):
        RunFolder.create(tmp_path, "r1")
    with pytest.raises(UsageError, match="can't name a run"):
        RunFolder.create(tmp_path, "../r1")
    with pytest.raises(UsageError, match="the run r9 has no folder"):
        RunFolder.open(tmp_path, "r9")


def test_closed_stays_closed(tmp_path: Path) -> None:
    """The mark is on disk."""
    folder = RunFolder.create(tmp_path, "r1")
    assert not folder.closed
    folder.mark_closed()
    folder.close()
    assert RunFolder.open(tmp_path, "r1").closed
