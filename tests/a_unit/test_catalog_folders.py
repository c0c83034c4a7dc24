"""How pytest walks a catalog, in sessions of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_testlab.catalog.scan import scan


def add(root: Path, folder: str) -> None:
    (root / folder).mkdir(parents=True)
    name = folder.replace("/", "-")
    (root / folder / "testlab.toml").write_text(f'[app]\nname = "{name}"\n[run]\ncommand = "x"\n')


def collect(root: Path, *arguments: str) -> tuple[list[str], str]:
    """(node ids, the whole output) of a session that only collects."""
    (root / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "--testlab-provider", "memory", "--co", "-q", "-p", "no:cacheprovider"]
    environ = {**os.environ, "TESTLAB_HOME": str(root / ".home")}
    done = subprocess.run(
        [*command, *arguments], cwd=root, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if "::" in line and " " not in line], done.stdout


def both(folder: str) -> list[str]:
    return [f"{folder}/testlab.toml::install", f"{folder}/testlab.toml::check"]


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    for folder in ("shop", "shop/plugins/deep", "apps/wiki"):
        add(tmp_path, folder)
    poison = "raise SystemExit('imported')\n"
    for file in ("shop/test_own.py", "shop/conftest.py", "shop/tests/test_own.py", "shop/tests/conftest.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(poison)
    (tmp_path / "apps" / "test_platform.py").write_text("def test_it():\n    pass\n")
    (tmp_path / "apps" / "conftest.py").write_text("")
    return tmp_path


def test_only_entries_are_collected_from_an_entrys_folder(catalog: Path) -> None:
    """An app's own tests and conftest.py are never imported; entries below it, and tests beside entries, are found."""
    found, output = collect(catalog)
    assert found == ["apps/test_platform.py::test_it", *both("apps/wiki"), *both("shop"), *both("shop/plugins/deep")], (
        output
    )


def test_what_is_named_is_collected(catalog: Path) -> None:
    """Folders, files and tests can be named as with any suite."""
    assert collect(catalog, "apps/wiki")[0] == both("apps/wiki")
    (catalog / "shop" / "conftest.py").unlink()  # pytest loads those above whatever is named
    assert collect(catalog, "shop/plugins/deep/testlab.toml::check")[0] == [both("shop/plugins/deep")[1]]
    assert collect(catalog, "apps/test_platform.py", "apps/wiki/testlab.toml")[0] == [
        "apps/test_platform.py::test_it",
        *both("apps/wiki"),
    ]
    (catalog / "shop" / "test_own.py").write_text("def test_it():\n    pass\n")
    assert collect(catalog, "shop/test_own.py")[0] == ["shop/test_own.py::test_it"]


def test_options_that_leave_out_still_do(catalog: Path) -> None:
    """pytest's own --ignore holds for the folders of entries."""
    assert collect(catalog, "--ignore=shop", "--ignore=apps/test_platform.py")[0] == both("apps/wiki")


def test_no_entry_is_taken_for_absent(tmp_path: Path) -> None:
    """A testlab.toml that is a folder, a pipe, or a link to itself or nowhere is an error, beside all the others."""
    add(tmp_path, "good")
    for name in ("folder", "pipe", "loop", "nowhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder" / "testlab.toml").mkdir()
    os.mkfifo(tmp_path / "pipe" / "testlab.toml")
    (tmp_path / "loop" / "testlab.toml").symlink_to("testlab.toml")
    (tmp_path / "nowhere" / "testlab.toml").symlink_to("nowhere")
    found, output = collect(tmp_path)
    assert found == both("good")
    for line in (
        "folder/testlab.toml: is a folder, not a file",
        "pipe/testlab.toml: is not a regular file",
        "loop/testlab.toml: can't be read: Too many levels of symbolic links",
        "nowhere/testlab.toml: can't be read: No such file or directory",
        "2 tests collected, 4 errors",
    ):
        assert line in output


def test_links_can_not_make_the_walk_endless(tmp_path: Path) -> None:
    """Links to folders above, crosswise or to the whole machine: entries are found once, where they are.

    Two links to a folder above would double the paths at each of forty levels.
    """
    add(tmp_path, "good")
    for folder in ("x", "y", "good/sub"):
        (tmp_path / folder).mkdir()
        for name in ("up", "again"):
            (tmp_path / folder / name).symlink_to("..")
        (tmp_path / folder / "machine").symlink_to("/")
    (tmp_path / "x" / "across").symlink_to("../y")
    (tmp_path / "y" / "across").symlink_to("../x")
    found, output = collect(tmp_path)
    assert found == both("good"), output
    assert [entry.name for entry in scan(tmp_path).entries] == ["good"]


def test_too_many_folders_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that a link leads out into the machine's own files ends with a problem that names where it was."""
    monkeypatch.setattr("pytest_testlab.catalog.scan.MOST_FOLDERS", 5)
    for number in range(8):
        (tmp_path / f"{number}").mkdir()
    problems = scan(tmp_path).problems
    assert len(problems) == 1
    assert str(problems[0]).endswith("more than 5 folders up to here; does a link lead out of the catalog?")


@pytest.mark.parametrize("folder", [b"a\x1b[2Jb", b"a\nb", b"a::b", b"caf\xe9", "a\u202eb".encode()])
def test_a_folder_whose_name_can_not_be_an_id_is_told(tmp_path: Path, folder: bytes) -> None:
    """A name that would steer the terminal or isn't text is an error in one line, and is never printed as it is."""
    place = tmp_path / os.fsdecode(folder)
    place.mkdir()
    (place / "testlab.toml").write_text('[app]\nname = "odd"\n[run]\ncommand = "x"\n')
    add(tmp_path, "good")
    found, output = collect(tmp_path)
    assert found == both("good"), output
    assert "rename the folder" in output
    assert "1 error" in output
    if folder != b"a::b":
        assert os.fsdecode(folder) not in output
        assert folder.decode(errors="replace") not in output
    assert [problem.message[:24] for problem in scan(tmp_path).problems] == ["its path holds control o"]
