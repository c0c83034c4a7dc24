"""What a run keeps and holds open is for its owner alone, whatever the umask: other users of the machine read none."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty import Catalog

from pytest_testlab.store.home import ACCOUNTS

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def reachable(folder: Path) -> Iterator[Path]:
    """All below a folder that somebody else could come to: what stands below a closed folder is closed by that."""
    for path in sorted(folder.iterdir()):
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            continue
        yield path
        if stat.S_ISDIR(found.st_mode) and found.st_mode & OTHERS & (stat.S_IXGRP | stat.S_IXOTH):
            yield from reachable(path)


def open_to_others(home: Path) -> list[str]:
    """What anybody may read, write or list, and what belongs to an account that has no business there."""
    ours = {os.geteuid()} | {pwd.getpwnam(name).pw_uid for name in ACCOUNTS if os.geteuid() == 0}
    odd = []
    for path in reachable(home):
        found = path.lstat()
        mode = stat.S_IMODE(found.st_mode)
        passing = stat.S_ISDIR(found.st_mode) and not mode & (stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH)
        if (mode & OTHERS and not passing) or found.st_uid not in ours:
            odd.append(f"{path.relative_to(home)} {stat.filemode(found.st_mode)} of {found.st_uid}")
    return odd


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_a_home_is_closed_to_others(catalog: Catalog, umask: int) -> None:
    """While a run goes on and after it: journals, bundles, keys, locks, the store and every socket, of real targets."""
    catalog.db = None
    catalog.home = catalog.home / "home"
    catalog.options = ("--testlab-provider", "local")
    catalog.entries("hold-one")
    (catalog.folder / "hold-one" / "site").mkdir()
    (catalog.folder / "hold-one" / "site" / "index.html").write_text("hello")
    (catalog.folder / "hold-one" / "testlab.toml").write_text(
        '[app]\nname = "hold-one"\n\n[run]\nstatic = "site"\n\n[[checks]]\nhttp = "/"\ncontains = "hello"\n'
    )
    run = catalog.start(before=("sh", "-c", f'umask {umask:03o}; exec "$@"', "sh"))
    catalog.at("one", 120)
    during = open_to_others(catalog.home)
    journal = next((catalog.home / "runs").glob("*/journal/controller.tlj"))
    catalog.open("one")
    code, output = catalog.ends(run, 180)
    assert code == 0, output
    assert stat.S_IMODE(catalog.home.lstat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)
    assert stat.S_IMODE((catalog.home / "runs").lstat().st_mode) == 0o700
    assert stat.S_IMODE(journal.lstat().st_mode) == 0o600
    assert during == []
    assert open_to_others(catalog.home) == []
    # Also what stands below a closed folder, where a second bolt costs nothing.
    kept = [path for path in (catalog.home / "runs").rglob("*") if path.lstat().st_mode & OTHERS]
    assert kept == []
