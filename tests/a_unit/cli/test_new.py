"""`testlab new`: what it writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_testlab import scan
from pytest_testlab.catalog.read import read_entry
from pytest_testlab.catalog.tutorials.model import Tutorial
from pytest_testlab.catalog.tutorials.read import read_tutorial
from pytest_testlab.cli import main
from pytest_testlab.cli.new import TEMPLATES, kinds, make
from pytest_testlab.model import Entry


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_says_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The folder, what is in it, and what to type."""
    assert main(["new", "app", "shop"]) == 0
    assert capsys.readouterr().out == "shop is there: serve.py, testlab.toml\nrun it with: testlab run shop\n"


@pytest.mark.parametrize(("kind", "suite"), [("app", "apps"), ("demo", "demos"), ("tutorial", "tutorials")])
def test_each_kind_is_an_entry_by_its_name(tmp_path: Path, kind: str, suite: str) -> None:
    """What is written is found in a catalog, by its name and in its suite, and no placeholder is left."""
    folder = make(kind, "my-own-1", tmp_path)
    if suite == "tutorials":
        page = folder / "my-own-1.md"
        found: Tutorial | Entry | None = read_tutorial(page, page.read_bytes())
    else:
        [found] = scan(tmp_path)
    assert found is not None
    assert (found.name, found.suite) == ("my-own-1", suite)
    assert all("@NAME@" not in file.read_text() + file.name for file in folder.iterdir())


def test_the_commented_lines_are_sound(tmp_path: Path) -> None:
    """Whoever takes the # away has an entry still."""
    folder = make("app", "shop", tmp_path)
    lines = (folder / "testlab.toml").read_text().splitlines()
    keys = ("# tags", "# owner", "# addons", "# [build]", "# commands", "# PASSWORD", "# TOKEN")
    bare = [line.removeprefix("# ") if line.startswith(keys) else line for line in lines]
    assert sum(line.startswith(keys) for line in lines) == len(keys)
    (folder / "testlab.toml").write_text("\n".join(bare))
    entry = read_entry(folder / "testlab.toml")
    assert (entry.owner, entry.addons, len(entry.build)) == ("me", ("postgresql",), 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["new", "app", "Shop"], 'NAME: "Shop" is not allowed; allowed: 1 to 40 of a-z, 0-9 and -, '),
        (["new", "app", "../shop"], 'NAME: "../shop" is not allowed; '),
        (["new", "app", "there"], "there exists already: take another name, or move it away"),
        (["new", "app", "shop", "--in", "nowhere"], "nowhere doesn't exist: make it first, or leave --in out"),
        (["new", "app", "shop", "--in", "there"], "is an entry itself: make the new one beside it"),
        (["new", "app", "apps/blog"], "its folder goes with --in: testlab new KIND blog --in apps"),
        (["new", "ap", "shop"], "KIND: 'ap' can't be made; did you mean app?"),
        (
            ["new", "shop"],
            "KIND: 'shop' can't be made; did you mean testlab new app shop?",
        ),
        (["new", "app"], "NAME is missing: testlab new app NAME"),
    ],
)
def test_mistakes_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """One line, exit 2, and nothing is changed on the disk."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "testlab.toml").touch()
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_the_schema_goes_by_the_files_name_too(capsys: pytest.CaptureFixture[str]) -> None:
    """`testlab schema testlab.toml` is `testlab schema entry`."""
    assert main(["schema", "entry"]) == 0
    by_kind = capsys.readouterr().out
    assert main(["schema", "testlab.toml"]) == 0
    assert capsys.readouterr().out == by_kind


def test_each_template_is_tested() -> None:
    """What can be made is what the tests above make."""
    assert kinds() == ["app", "demo", "tutorial"]
    assert sorted(folder.name for folder in TEMPLATES.iterdir()) == kinds()
