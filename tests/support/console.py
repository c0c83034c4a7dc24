"""The commands of a page, run as they stand, and what the page shows of their output.

In a fence `console`, a line that begins with `$ ` is typed; those after it are what comes. `…` stands for anything on
the line, and alone on a line for any lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Typed:
    """A command of a page."""

    command: str
    shown: str
    """What the page shows of its output, its lines without blanks at their ends."""

    def fits(self, output: str) -> bool:
        """Whether that is what came."""
        return re.fullmatch(_pattern(self.shown), _trimmed(output)) is not None


def commands(page: Path) -> list[Typed]:
    """All of them, in order."""
    found: list[Typed] = []
    for fence in re.findall(r"^```console\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", fence, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            found.append(Typed(command=command, shown=_trimmed(shown)))
    return found


def _trimmed(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _pattern(shown: str) -> str:
    return "".join(r"(?:.*\n)*?" if line == "…" else _line(line) for line in shown.splitlines())


def _line(line: str) -> str:
    words = r".*".join(map(re.escape, line.split("…")))
    return re.sub(r"(?:\\ )+", r"[ ]+", words) + r"[ ]*\n"
