"""The fenced blocks of a Markdown text, by a parser that knows lists, quotes and comments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_PREFIX = re.compile(r"[ \t>]*")


@dataclass(frozen=True, kw_only=True)
class Fence:
    """One fenced block."""

    line: int
    """Of its opening, from 1."""
    info: str
    """What stands behind the opening: the language and its words."""
    content: str
    closed: bool


def fences(text: str) -> list[Fence]:
    """Every fenced block, in order."""
    lines = text.split("\n")
    return [_fence(token, lines) for token in _parser().parse(text) if token.type == "fence" and token.map]


def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # takes longer to import than most catalogs to read: only for pages that need it

    return MarkdownIt("commonmark").disable("inline")


def _fence(token: Token, lines: list[str]) -> Fence:
    assert token.map is not None
    start, end = token.map
    last = _PREFIX.sub("", lines[end - 1], count=1).rstrip() if end - 1 > start and end <= len(lines) else ""
    closed = len(last) >= len(token.markup) and not last.strip(token.markup[0])
    return Fence(line=start + 1, info=token.info.strip(), content=token.content, closed=closed)
