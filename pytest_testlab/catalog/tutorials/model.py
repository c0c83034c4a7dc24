"""A tutorial as its author wrote it: what to do, block by block, and what must come of it. Lines count from 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_testlab.model import EnvValue, FailureClass, Priority, Requirement, Suite

if TYPE_CHECKING:
    import regex

TITLE_CHARACTERS = 60
PATTERN_WITHIN_S = 5.0
"""For a regular expression to be found in a block's output, or not; one that backtracks could take for ever."""


def pattern(text: str) -> regex.Pattern[str]:
    """A regular expression of a page, `^` and `$` at each line; raises `ValueError` for what is none."""
    import regex  # for those pages that have one

    try:
        return regex.compile(text, regex.MULTILINE)
    except (regex.error, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from None


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What the output of a block must hold: an `output` fence."""

    line: int
    text: str
    is_regex: bool

    def fits(self, output: str) -> bool:
        """Whether the output is as expected; blanks at the ends of lines don't count.

        Raises `TimeoutError` for a pattern that comes to no end within `PATTERN_WITHIN_S` seconds.
        """
        output = _even(output)
        if self.is_regex:
            return pattern(self.text).search(output, timeout=PATTERN_WITHIN_S, concurrent=True) is not None
        return _even(self.text) in output

    def __str__(self) -> str:
        text = self.text.replace("\n", "\\n")
        return f"output that {'matches' if self.is_regex else 'contains'} '{text}'"


def _even(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines())


@dataclass(frozen=True, kw_only=True)
class ShellBlock:
    """Commands for a shell of their own; it ends at the first that fails."""

    line: int
    language: str
    """`bash` or `sh`."""
    script: str
    id: str | None = None
    dir: str = "."
    """Where it runs, relative to the tutorial's folder on the target."""
    timeout_s: float | None = None
    """None = what is left of the tutorial's own."""
    continue_on_error: bool = False
    """Whether any exit code will do."""
    skip: bool = False
    """Whether it is shown to readers and not run."""
    expects: tuple[Expectation, ...] = ()

    @property
    def title(self) -> str:
        """Its id, else its first line that is no comment."""
        lines = [line.strip() for line in self.script.splitlines() if line.strip()]
        said = self.id or next((line for line in lines if not line.startswith("#")), lines[0])
        return said if len(said) <= TITLE_CHARACTERS else said[: TITLE_CHARACTERS - 1] + "…"


@dataclass(frozen=True, kw_only=True)
class FileBlock:
    """A file that the tutorial has its reader write."""

    line: int
    path: str
    content: str

    @property
    def title(self) -> str:
        """What it does."""
        return f"file {self.path}"


@dataclass(frozen=True, kw_only=True)
class AssertBlock:
    """A file or folder that must be there by now."""

    line: int
    path: str

    @property
    def title(self) -> str:
        """What it asks."""
        return f"assert file-exists {self.path}"


Block = ShellBlock | FileBlock | AssertBlock


@dataclass(frozen=True, kw_only=True)
class Teardown:
    """What to do at the end, come what may."""

    line: int
    script: str


@dataclass(frozen=True, kw_only=True)
class Tutorial:
    """One Markdown file with something to execute."""

    name: str
    file: Path
    blocks: tuple[Block, ...]
    name_line: int | None = None
    """Where its author gave it its name, which then is its alone; None where it is made from the file's."""
    priority: Priority = Priority.P1
    tags: tuple[str, ...] = ()
    owner: str | None = None
    timeout_s: float = 600.0
    """Of all its blocks together; the teardown has a time of its own."""
    requires: tuple[Requirement, ...] = ()
    env: Mapping[str, EnvValue] = field(default_factory=dict)
    teardown: Teardown | None = None

    @property
    def suite(self) -> Suite:
        """Tutorials."""
        return Suite.TUTORIALS

    @property
    def expects_failure(self) -> FailureClass | None:
        """None: a tutorial is there to work."""
        return None
