"""A tutorial as pytest nodes: the page, and below it one test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_testlab.catalog.items import SEEN, CatalogItem, CatalogUnit, Equipment, UnitState
from pytest_testlab.catalog.read import LARGEST, check_place, read_bytes
from pytest_testlab.catalog.tutorials.model import ShellBlock, Tutorial
from pytest_testlab.catalog.tutorials.read import could_be, read_tutorial
from pytest_testlab.errors import CatalogError, Problem
from pytest_testlab.protocols import PageRules

if TYPE_CHECKING:
    from pytest_testlab.protocols import Observer

STAGE = "tutorial"


def page_file(parent: pytest.Collector, path: Path, rules: PageRules | None = None) -> PageFile | None:
    """The node of a Markdown file; None where it is no tutorial."""
    if rules is not None and not rules.is_tutorial:
        return None
    try:
        data = read_bytes(path)
    except CatalogError as error:
        return PageFile.of(parent, path, b"", error) if _begins_as_one(path) else None
    found = _read(path, data, rules)
    return None if found is None else PageFile.of(parent, path, data, found)


def page_of_entry(parent: pytest.Collector, path: Path) -> PageFile:
    """The node of a page that an entry's file says is a tutorial: if it is none, that is the page's problem."""
    say = "is named as a tutorial, and has nothing to execute; mark a block with ```bash exec"
    found = page_file(parent, path, PageRules())
    return found or PageFile.of(parent, path, b"", CatalogError([Problem(file=path, message=say)]))


def _read(path: Path, data: bytes, rules: PageRules | None = None) -> Tutorial | CatalogError | None:
    try:
        return read_tutorial(path, data, rules) if could_be(data) else None
    except CatalogError as error:
        return error


def _begins_as_one(path: Path) -> bool:
    """Whether a file that is too large, or can't be read, would be missed as a tutorial."""
    try:
        with path.open("rb") as page:
            return _read(path, page.read(LARGEST)) is not None
    except OSError:
        return True


class PageFile(CatalogUnit, pytest.File):
    """One Markdown file with something to execute."""

    found: Tutorial | CatalogError
    data: bytes

    @classmethod
    def of(cls, parent: pytest.Collector, path: Path, data: bytes, found: Tutorial | CatalogError) -> PageFile:
        """The node of what was found in a file."""
        page = cls.from_parent(parent, path=path)
        page.data, page.found = data, found
        return page

    def collect(self) -> Iterator[TutorialItem]:
        """Its one test; raises `CatalogError` with all problems of the page."""
        check_place(self.path, self.nodeid)
        if isinstance(self.found, CatalogError):
            raise self.found
        seen = self.config.stash[SEEN]
        if self.found.name_line is not None:
            seen.names.claim(self.found.name, self.path, key="tutorial.name", line=self.found.name_line)
        seen.digest.update(self.data)
        self.extra_keyword_matches.update((self.found.name, *self.found.tags))
        self.add_marker(self.found.suite.value)
        self.add_marker(self.found.priority.value)
        for place in seen.places:
            yield TutorialItem.from_parent(self, name=STAGE + place.suffix).put(place)


class TutorialItem(CatalogItem):
    """All the blocks of one page."""

    parent: PageFile
    stage = STAGE

    @property
    def subject(self) -> Tutorial:
        """The page's."""
        assert isinstance(self.parent.found, Tutorial)
        return self.parent.found

    @property
    def unit(self) -> PageFile:
        """Its page."""
        return self.parent

    @property
    def has_app(self) -> bool:
        """No: its blocks speak for themselves."""
        return False

    def work(self, equipment: Equipment, state: UnitState, observe: Observer) -> None:
        """Run the blocks in a folder of their own."""
        # what only a process with a target needs is imported there
        from pytest_testlab.capabilities.requirements import require
        from pytest_testlab.catalog.secrets import resolve_env
        from pytest_testlab.catalog.tutorials.run import Runner
        from pytest_testlab.catalog.workshop import Workshop

        tutorial = self.subject
        workshop = state.workshop = Workshop.plan(equipment.target, tutorial.name)
        require(equipment.target, tutorial.requires)
        env, secret_values = resolve_env(tutorial, equipment.secrets)
        observe.conceal(*secret_values)
        equipment.tell(secret_values)
        page = self.nodeid.partition("::")[0]
        Runner(tutorial=tutorial, page=page, workshop=workshop, env=env, observe=observe).run()

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where it comes from, for people."""
        return self.path, 0, f"{self.subject.name}::{self.name}"

    def __str__(self) -> str:
        """As `--co` prints it: with its blocks below."""
        indent = "  " * (len(self.listchain()) - 1)
        return "\n".join([repr(self), *(f"{indent}{line}" for line in _outline(self.subject))])


def _outline(tutorial: Tutorial) -> Iterator[str]:
    for block in tutorial.blocks:
        skipped = " (not run)" if isinstance(block, ShellBlock) and block.skip else ""
        yield f"{block.line:4}  {block.title}{skipped}"
