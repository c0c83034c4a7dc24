"""What stands between two `---` at the beginning of a page, in YAML: its key `tutorial`, each value with its line.

YAML is read as text alone: `no` stays "no" and 1.10 stays "1.10", so that a value is what its author sees. Anchors and
aliases, with which a short text grows without bound, are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_testlab.catalog.readers import KeyPath

if TYPE_CHECKING:
    import yaml

KEY = "tutorial"
LARGEST = 64 * 1024
"""Characters."""
DEEPEST = 8
_OPENING = re.compile(r"---[ \t]*\n")
_CLOSING = re.compile(r"^(?:---|\.\.\.)[ \t]*$", re.MULTILINE)
_HAS_KEY = re.compile(rf"^(?:{KEY}|[\"']{KEY}[\"'])[ \t]*:", re.MULTILINE)


@dataclass
class FrontMatter:
    """What a page's front matter says of a tutorial."""

    given: Any = None
    """What stands at `tutorial`, in strings, lists and tables; None where it doesn't."""
    present: bool = False
    """Whether the key is there."""
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """Key below `tutorial` → its line."""
    faults: list[tuple[int, str]] = field(default_factory=list)
    """(line, what is wrong)."""
    length: int = 0
    """Lines that it takes up."""


def read_front_matter(text: str) -> FrontMatter:
    """Read it, if there is one."""
    found = FrontMatter()
    opening = _OPENING.match(text)
    if opening is None:
        return found
    closing = _CLOSING.search(text, opening.end())
    body = text[opening.end() : closing.start() if closing is not None else len(text)]
    found.present = _HAS_KEY.search(body) is not None
    if closing is None:  # a line of dashes, unless it says that it is more
        if found.present:
            found.faults.append((1, "the front matter is not closed; end it with a line ---"))
        return found
    found.length = text.count("\n", 0, closing.end()) + 1
    if found.present:
        _Reader(found).read(body)
    return found


class _Reader:
    def __init__(self, found: FrontMatter) -> None:
        self._found = found

    def read(self, body: str) -> None:
        import yaml  # only for pages that have something to read

        if len(body) > LARGEST:
            self._found.faults.append((1, f"the front matter is longer than {LARGEST // 1024} KiB"))
            return
        try:
            root = yaml.compose(body, Loader=yaml.BaseLoader) if self._is_plain(body) else None
        except RecursionError:
            self._found.faults.append((1, "the front matter is nested too deeply"))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            said = getattr(error, "problem", None) or getattr(error, "reason", None) or "it can't be read"
            self._found.faults.append((1 if mark is None else mark.line + 2, f"is not valid YAML: {said}"))
        else:
            if isinstance(root, yaml.MappingNode):
                self._take(root)

    def _is_plain(self, body: str) -> bool:
        """Whether it has no aliases, and isn't nested for the sake of it."""
        import yaml

        depth = 0
        for event in yaml.parse(body, Loader=yaml.BaseLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            named = isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None
            if named or depth > DEEPEST:
                why = "anchors and aliases (& and *) are not allowed" if named else "is nested too deeply"
                self._found.faults.append((_line(event), why))
                return False
        return True

    def _take(self, root: yaml.MappingNode) -> None:
        for key, value in root.value:
            if key.value == KEY:
                self._found.lines[()] = _line(key)
                self._found.given = self._value(value, ())

    def _value(self, node: yaml.Node, at: KeyPath) -> Any:
        import yaml

        if isinstance(node, yaml.ScalarNode):
            return node.value
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._found.lines[(*at, index)] = _line(item)
            return [self._value(item, (*at, index)) for index, item in enumerate(node.value)]
        table: dict[str, Any] = {}
        for key, value in node.value:
            line = _line(key)
            if not isinstance(key, yaml.ScalarNode) or key.value in table:
                name = key.value if isinstance(key, yaml.ScalarNode) else "a key"
                self._found.faults.append((line, f"{name!r} is given twice" if name != "a key" else "a key is no text"))
                continue
            self._found.lines[(*at, key.value)] = line
            table[key.value] = self._value(value, (*at, key.value))
        return table


def _line(found: yaml.Event | yaml.Node) -> int:
    """In the page, whose first line is the opening one."""
    assert found.start_mark is not None
    return int(found.start_mark.line) + 2
