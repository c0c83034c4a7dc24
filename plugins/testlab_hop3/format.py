"""Which files of a Hop3 checkout are entries, and which pages are tutorials."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path

from pytest_testlab.catalog.read import LARGEST, read_bytes
from pytest_testlab.errors import CatalogError
from pytest_testlab.model import Entry
from pytest_testlab.protocols import PageRules
from testlab_hop3.entries import has_app, of_demo_script, of_hop3_toml, of_test_toml

RECIPE, TEST, DEMO = "hop3.toml", "test.toml", "demo-script.py"
IGNORE = "HOP3_TEST_IGNORE"
DEFERRED = "DEFERRED.md"
DROPPED = "not a platform limitation"
"""What a DEFERRED.md says of an app under apps/broken that deploys, and that nobody offers any more."""
DEEPEST_APP = 4
"""How far below its test.toml an app may lie that has a recipe of its own."""
TREE = "tutorials"
INDEXES = ("index.md", "readme.md")


class Hop3Format:
    """Implements `protocols.CatalogFormat`."""

    name = "hop3"

    def __init__(self) -> None:
        self._folders: dict[Path, Path] = {}
        """Folder without links → the path by which it was come by first."""

    def passes_over(self, names: Collection[str]) -> bool:
        """A folder with HOP3_TEST_IGNORE in it."""
        return IGNORE in names

    def entry_file(self, folder: Path, names: Collection[str]) -> Path | None:
        """The hop3.toml, else the test.toml, else the demo-script.py; of a demo's own apps, nothing."""
        if RECIPE not in names and TEST not in names:
            return folder / DEMO if DEMO in names else None
        if _of_a_demo(folder) or _dropped(folder) or not self._is_first(folder):
            return None
        if RECIPE in names and not (TEST in names and _is_empty(folder / RECIPE)):
            return None if _named_above(folder) or _is_hull(folder) else folder / RECIPE
        return _page(folder / TEST) or folder / TEST

    def _is_first(self, folder: Path) -> bool:
        """Whether no link, or other path, has led to this folder before."""
        return self._folders.setdefault(folder.resolve(), folder) == folder

    def read(self, file: Path, data: bytes, place: str) -> Entry:
        """The entry of one of the three files; raises `CatalogError` with all that is wrong with it."""
        file = file if file.is_absolute() else file.absolute()
        if file.name == DEMO:
            return of_demo_script(file, place)
        if file.name == TEST:
            return of_test_toml(file, data, place)
        return of_hop3_toml(file, data, place)

    def page(self, file: Path) -> PageRules | None:
        """Pages of a tree of tutorials go by their paths, and its indexes are none; an app's own are never run."""
        if not any(TREE in part for part in file.absolute().parent.parts):
            return PageRules(is_tutorial=False) if _is_inside(file.absolute()) else None
        tags = ("slow", *(part for part in (file.parent.name, file.stem) if part.isascii() and part.isidentifier()))
        return PageRules(is_tutorial=file.name.lower() not in INDEXES, tags=tags)


def _is_inside(file: Path) -> bool:
    """Whether a page lies in the folder of an app or a demo, be that an entry or passed over."""
    return any((above / name).exists() for above in file.parents for name in (RECIPE, TEST, DEMO))


def _of_a_demo(folder: Path) -> bool:
    """Whether an app is only there for the demo-script.py of a folder above it."""
    return any((above / DEMO).exists() for above in folder.absolute().parents)


def _dropped(folder: Path) -> bool:
    """Whether an app below apps/broken is put aside though it deploys: neither an app to test, nor one to fail."""
    if "/apps/broken/" not in f"/{folder.absolute().as_posix()}" or not (folder / DEFERRED).is_file():
        return False
    try:
        with (folder / DEFERRED).open("rb") as page:
            return DROPPED in page.read(LARGEST).decode(errors="replace").lower()
    except OSError:
        return False


def _is_empty(file: Path) -> bool:
    """Whether a recipe says nothing; one that can't be parsed says something, and is told what is wrong."""
    try:
        return not tomllib.loads(read_bytes(file).decode())
    except (CatalogError, ValueError, RecursionError):
        return False


def _named_above(folder: Path) -> bool:
    """Whether a test.toml of a folder above, with no recipe beside it, has this folder as its app."""
    return any(_leads_to(above, folder) for above in folder.absolute().parents[:DEEPEST_APP])


def _leads_to(above: Path, folder: Path) -> bool:
    if not (above / TEST).is_file() or not (not (above / RECIPE).exists() or _is_empty(above / RECIPE)):
        return False
    if _is_empty(above / TEST):
        return folder == above / "app" and has_app(above)
    deployment = _peek(above / TEST).get("deployment")
    path = deployment.get("path", ".") if isinstance(deployment, dict) else "."
    return isinstance(path, str) and (above / path).resolve() == folder.resolve()


def _is_hull(folder: Path) -> bool:
    """Whether a recipe says nothing and is only there around an app that has a recipe of its own."""
    return _is_empty(folder / RECIPE) and (folder / "app" / RECIPE).exists()


def _page(file: Path) -> Path | None:
    """The Markdown file that a test.toml with [tutorial] leads to; None for every other, and for a malformed one."""
    table = _peek(file).get("tutorial")
    path = table.get("path") if isinstance(table, dict) else None
    if not isinstance(path, str) or not path.endswith(".md"):
        return None
    page = file.parent / path
    return page if page.is_file() else None


def _peek(file: Path) -> dict[str, object]:
    """A file's tables, none where it can't be parsed: reading it says so."""
    try:
        return tomllib.loads(read_bytes(file).decode())
    except (CatalogError, ValueError, RecursionError):
        return {}
