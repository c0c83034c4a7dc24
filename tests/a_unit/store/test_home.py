"""The lab's home: made where it can be, refused in one line where it can't."""

import os
import stat
from pathlib import Path

import pytest

from pytest_testlab.errors import UsageError
from pytest_testlab.options import Settings
from pytest_testlab.store.binaries import find_binaries
from pytest_testlab.store.engine import make_engine
from pytest_testlab.store.home import Account, check_reachable, home


def test_runs_are_closed_to_others(tmp_path: Path) -> None:
    """Bundles are kept where only the owner may look."""
    made = home(Settings(home=str(tmp_path / "a" / "lab")))
    assert stat.S_IMODE((made / "runs").stat().st_mode) == 0o700
    assert stat.S_IMODE(made.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """One line that names what bars the way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=f"the lab's home {tmp_path}/file/lab can't be made: {tmp_path}"):
        home(Settings(home=str(tmp_path / "file" / "lab")))


def test_a_directory_that_bars_the_account_is_named(tmp_path: Path) -> None:
    """The first directory that the database's account can't pass is the one to mend."""
    barred = tmp_path / "closed"
    (barred / "lab").mkdir(parents=True)
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        if folder.owner() == tmp_path.owner() and folder != Path("/tmp"):
            folder.chmod(0o755)
    barred.chmod(0o700)
    stranger = Account(name="stranger", uid=54321, gid=54321)
    with pytest.raises(UsageError, match=f"the account stranger.* can't pass {barred} to reach {barred}/lab/pg"):
        check_reachable(barred / "lab" / "pg", stranger)


def test_a_url_of_another_database_is_refused_without_repeating_it() -> None:
    """A URL may hold a password, so no message repeats it."""
    with pytest.raises(UsageError, match="the store can't be mysql: only postgresql:// is supported"):
        make_engine("mysql://me:hunter2@host/db")
    with pytest.raises(UsageError, match="the store's URL can't be read") as told:
        make_engine("hunter2 is no url")
    assert "hunter2" not in str(told.value)


def test_a_version_that_is_not_there_says_what_to_install() -> None:
    """A data folder can be read by one version only."""
    with pytest.raises(UsageError, match=r"made by PostgreSQL 9, and this machine has .*pytest-testlab\[embedded\]"):
        find_binaries(9)


@pytest.mark.parametrize("umask", [0, 0o002, 0o027])
def test_nobody_else_may_write_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """The home, what is in it, and the folders made above it: nobody else writes there, and runs are closed."""
    before = os.umask(umask)
    try:
        made = home(Settings(home=str(tmp_path / "a" / "b" / "home")))
    finally:
        os.umask(before)
    for folder in (tmp_path / "a", tmp_path / "a" / "b", made):
        assert folder.stat().st_mode & 0o022 == 0, folder
    assert stat.S_IMODE((made / "runs").stat().st_mode) == 0o700


def test_a_home_that_all_may_write_to_is_refused(tmp_path: Path) -> None:
    """Somebody could have laid a run or a key there, or could swap them; the way out is told."""
    tmp_path.chmod(0o777)
    with pytest.raises(UsageError, match=r"can be written to by every user; make it yours: chmod o-w /"):
        home(Settings(home=str(tmp_path)))


def test_runs_that_stand_open_are_closed(tmp_path: Path) -> None:
    """A folder of bundles that was copied with looser rights isn't left open to the other users of the machine."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs").chmod(0o755)
    home(Settings(home=str(tmp_path)))
    assert stat.S_IMODE((tmp_path / "runs").stat().st_mode) == 0o700
