"""Finding the entries of a catalog."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_testlab.catalog.scan import NameRegistry, scan
from pytest_testlab.errors import CatalogError


def add(root: Path, folder: str, name: str | None = None) -> Path:
    file = root / folder / "testlab.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'[app]\nname = "{name or Path(folder).name}"\n[run]\ncommand = "x"\n')
    return file


def names(*roots: Path) -> list[str]:
    return [entry.name for entry in scan(*roots).entries]


def test_entries_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    """The order doesn't depend on the file system."""
    for folder in ("b", "a/z", "a", "c/d"):
        add(tmp_path, folder)
    assert names(tmp_path) == ["a", "z", "b", "d"]
    assert names(tmp_path / "c", tmp_path / "b" / "testlab.toml") == ["d", "b"]


def test_tools_folders_are_left_out(tmp_path: Path) -> None:
    """What tools put beside an app is not part of the catalog."""
    for folder in (".git/x", "node_modules/x", "venv/x", "__pycache__/x", "env/lib/x"):
        add(tmp_path, folder)
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    add(tmp_path, "ok")
    assert names(tmp_path) == ["ok"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    """A link to a folder above is no endless walk, and a folder is read once however many links lead there."""
    add(tmp_path, "real/a")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "real")
    (tmp_path / "self").symlink_to("self")
    catalog = scan(tmp_path)
    assert ([entry.name for entry in catalog.entries], catalog.problems) == (["a"], ())


def test_nothing_malformed_is_taken_for_absent(tmp_path: Path) -> None:
    """Bad files, folders of that name and roots that aren't there are problems; good entries are kept."""
    add(tmp_path, "ok")
    add(tmp_path, "bad", "NO")
    (tmp_path / "folder" / "testlab.toml").mkdir(parents=True)
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "testlab.toml").symlink_to("testlab.toml")
    catalog = scan(tmp_path, tmp_path / "nowhere", tmp_path / "ok" / "testlab.toml" / "x")
    assert [entry.name for entry in catalog.entries] == ["ok"]
    said = [str(problem).removeprefix(f"{tmp_path}/") for problem in catalog.problems]
    assert said[0].startswith('bad/testlab.toml:2: app.name: "NO" is not allowed')
    assert said[1:] == [
        "folder/testlab.toml: is a folder, not a file",
        "loop/testlab.toml: can't be read: Too many levels of symbolic links",
        "nowhere: doesn't exist",
        "ok/testlab.toml/x: doesn't exist",
    ]
    with pytest.raises(CatalogError, match="doesn't exist"):
        catalog.require_sound()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_barred_folder_is_a_problem(tmp_path: Path) -> None:
    """What can't be looked into may hide entries."""
    (tmp_path / "barred").mkdir(mode=0)
    assert [problem.message for problem in scan(tmp_path).problems] == ["can't be read: Permission denied"]


def test_names_are_unique(tmp_path: Path) -> None:
    """The second of two entries with one name is a problem that names both files."""
    first = add(tmp_path, "a", "shop")
    second = add(tmp_path, "b", "shop")
    catalog = scan(tmp_path)
    assert [entry.file for entry in catalog.entries] == [first]
    assert [str(problem) for problem in catalog.problems] == [
        f'{second}:2: app.name: "shop" is already the name of {first}; names are unique in a catalog'
    ]


def test_a_file_may_claim_its_name_again(tmp_path: Path) -> None:
    """One file that is collected twice is no duplicate."""
    registry = NameRegistry()
    registry.claim("a", tmp_path / "x")
    registry.claim("a", tmp_path / "x")
    with pytest.raises(CatalogError, match="is already the name of"):
        registry.claim("a", tmp_path / "y")


def test_the_digest_is_of_places_and_contents(tmp_path: Path) -> None:
    """Equal catalogs agree wherever they are; a moved or changed file, sound or not, shows."""
    for root in ("one", "two"):
        add(tmp_path / root, "a")
        add(tmp_path / root, "b")
    one, two = tmp_path / "one", tmp_path / "two"
    digest = scan(one).digest
    assert scan(two).digest == digest
    (two / "b").rename(two / "c")
    moved = scan(two).digest
    (two / "c" / "testlab.toml").write_text("broken")
    assert len({digest, moved, scan(two).digest}) == 3
