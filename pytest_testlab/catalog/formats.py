"""The formats of a catalog: testlab.toml, and what plugins read besides."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from pytest_testlab.catalog.read import FILE_NAME, parse_entry
from pytest_testlab.errors import TestlabError, UsageError
from pytest_testlab.model import Entry
from pytest_testlab.protocols import CatalogFormat, PageRules
from pytest_testlab.seams import blame


class Formats:
    """All that can be read; a testlab.toml goes before whatever else lies in its folder."""

    def __init__(self, others: Sequence[CatalogFormat] = ()) -> None:
        self._others = tuple(others)
        self._readers: dict[Path, CatalogFormat] = {}
        """File → what found it."""

    def __bool__(self) -> bool:
        """Whether there are any but testlab.toml."""
        return bool(self._others)

    def passes_over(self, names: Collection[str]) -> bool:
        """Whether nothing in a folder that holds these names, nor below it, is to be collected."""
        return any(other.passes_over(names) for other in self._others)

    def entry_file(self, folder: str | os.PathLike[str], names: Collection[str]) -> Path | None:
        """The file that makes a folder an entry; None where none of `names` does."""
        if FILE_NAME in names:
            return Path(folder, FILE_NAME)
        for other in self._others:
            if (file := other.entry_file(Path(folder), names)) is not None:
                self._readers[file] = other
                return file
        return None

    def read(self, file: Path, data: bytes, place: str) -> Entry:
        """The entry that a file describes whose path in the catalog is `place`; raises `CatalogError`.

        What a plugin raises that it shouldn't becomes a `UsageError` with the place in its code.
        """
        other = self._readers.get(file)
        if other is None:
            return parse_entry(file, data)
        try:
            return other.read(file, data, place)
        except TestlabError:
            raise
        except Exception as error:
            raise UsageError(blame(f"{file}: the format {other.name}", error, other)) from error

    def page(self, file: Path) -> PageRules | None:
        """How a Markdown file is to be read; None = as every other."""
        return next((rules for other in self._others if (rules := other.page(file)) is not None), None)


ALONE = Formats()
"""testlab.toml and nothing else."""
