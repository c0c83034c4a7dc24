"""How pytest walks a catalog: an entry's folder is its app's, so nothing in it but entries is collected.

pytest by itself would import an app's own `test_*.py` and `conftest.py` into the lab, would pass over a `testlab.toml`
that is a folder, a pipe or a broken link, and would make a node for each folder, which costs more than the entry.
Whatever the command line names inside an entry's folder is collected as pytest always does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.pathlib import scandir

from pytest_testlab.catalog.formats import Formats
from pytest_testlab.catalog.read import FILE_NAME
from pytest_testlab.catalog.scan import MOST_FOLDERS, files_below, leads_up, too_many_folders
from pytest_testlab.errors import CatalogError, Problem


class Folder(pytest.Directory):
    """A folder of a catalog: gives the entries of the folders below it as its own children."""

    def __init__(
        self,
        *,
        make: Callable[[Folder, Path], pytest.File],
        seen: set[tuple[int, int]],
        formats: Formats,
        **kwargs: Any,
    ) -> None:
        """`seen` are the folders that the session's walk has been in: links must not lead it around."""
        super().__init__(**kwargs)
        self._make = make
        self._seen = seen
        self._formats = formats

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Its entry, the entries below, and what pytest finds in folders that hold no entry."""
        items = scandir(self.path)
        names = {item.name for item in items}
        if self._formats.passes_over(names):
            return
        entry = self._formats.entry_file(self.path, names)
        if is_entry := entry is not None:
            yield self._make(self, entry)
        for item in items:
            if item.name == FILE_NAME or (entry is not None and item.name == entry.name):
                continue
            if item.is_dir():
                if not leads_up(item):
                    yield from self._folder(item.path, is_entry)
            elif item.is_file():
                yield from self._file(Path(item.path), is_entry)

    def _folder(self, where: str, is_entry: bool) -> Iterator[pytest.Item | pytest.Collector]:
        path = Path(where)
        if not self.session.isinitpath(path, with_parents=True):
            if self.ihook.pytest_ignore_collect(collection_path=path, config=self.config):
                return
            names = _names(where)
            if names is not None and self._formats.passes_over(names):
                return
            entry = None if names is None else self._formats.entry_file(path, names)
            if is_entry or entry is not None:
                yield from self._entries(path, names, entry)
                return
            if not self._is_new(path):
                return
        found = self.ihook.pytest_collect_directory(path=path, parent=self)
        if found is not None:
            yield found

    def _is_new(self, path: Path) -> bool:
        facts = path.stat()
        if (facts.st_dev, facts.st_ino) in self._seen:
            return False
        self._seen.add((facts.st_dev, facts.st_ino))
        if len(self._seen) > MOST_FOLDERS:
            raise CatalogError([too_many_folders(path)])
        return True

    def _file(self, path: Path, is_entry: bool) -> Iterator[pytest.Item | pytest.Collector]:
        is_named = self.session.isinitpath(path)
        if is_named or not (is_entry or self.ihook.pytest_ignore_collect(collection_path=path, config=self.config)):
            yield from self.ihook.pytest_collect_file(file_path=path, parent=self)

    def _entries(self, path: Path, names: dict[str, bool] | None, entry: Path | None) -> Iterator[pytest.File]:
        if names is not None and not any(names.values()):  # most entries; the walk would cost more than the node
            if entry is not None:
                yield self._make(self, entry)
            return
        problems: list[Problem] = []
        for file in files_below(path, set(), problems, self._formats):
            yield self._make(self, file)
        if problems:
            raise CatalogError(problems)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """A folder that can't be read is shown as its problem."""
        if isinstance(excinfo.value, CatalogError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)


def _names(folder: str) -> dict[str, bool] | None:
    """Name → whether it is a folder or could be, for what a folder holds; None when it can't be listed."""
    try:
        with os.scandir(folder) as listing:
            return {item.name: item.name != FILE_NAME and (item.is_symlink() or item.is_dir()) for item in listing}
    except OSError:
        return None
