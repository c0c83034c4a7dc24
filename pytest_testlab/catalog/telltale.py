"""What of an exception in a test's own code tells most: where it was raised, and its words, a line each."""

from __future__ import annotations

import linecache
import traceback
from pathlib import Path

import pytest

MOST_LINES = 8
MOST_CHARACTERS = 2_000
"""Of a line; the headline shortens further, once secrets are masked."""


def place_of(error: BaseException, test: Path, root: Path) -> str:
    """`test_shop.py:12`: the line of the test's module, else of the catalog, that an exception came through last."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == str(test)]
    near = [frame for frame in frames if Path(frame.filename).is_relative_to(root) and _is_authors(frame.filename)]
    found = next(reversed(own or near or frames), None)
    return f"{Path(found.filename).name}:{found.lineno}" if found is not None else test.name


def _is_authors(file: str) -> bool:
    return "site-packages" not in file and not file.startswith(str(Path(__file__).parents[1]))


def said_by(error: BaseException) -> tuple[str, ...]:
    """The words of an exception, an assertion's with pytest's explanation; never empty."""
    message = error.msg if isinstance(error, pytest.fail.Exception) else str(error)
    lines = [line.rstrip()[:MOST_CHARACTERS] for line in (message or "").splitlines() if line.strip()]
    return tuple(lines[:MOST_LINES]) or (_source_line(error),)


def _source_line(error: BaseException) -> str:
    """What stands where it was raised: an assertion that pytest didn't rewrite has no words of its own."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    source = linecache.getline(last.filename, last.lineno or 0).strip() if last is not None else ""
    return source or "without a word"
