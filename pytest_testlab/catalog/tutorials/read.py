"""Reads a Markdown file into a `Tutorial`, says everything that is wrong with it at once, or that it is none."""

from __future__ import annotations

import dataclasses
import difflib
import re
import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_testlab.catalog import readers, values
from pytest_testlab.catalog.read import key_name
from pytest_testlab.catalog.readers import Convert, KeyPath, Refused, shown
from pytest_testlab.catalog.schema import HEADER
from pytest_testlab.catalog.tables import MOST_FAULTS, Schema, TableReader
from pytest_testlab.catalog.tutorials.fences import Fence, fences
from pytest_testlab.catalog.tutorials.front_matter import KEY, FrontMatter, read_front_matter
from pytest_testlab.catalog.tutorials.model import (
    AssertBlock,
    Block,
    Expectation,
    FileBlock,
    ShellBlock,
    Teardown,
    Tutorial,
    pattern,
)
from pytest_testlab.errors import CatalogError, Problem
from pytest_testlab.protocols import PageRules

MOST_BLOCKS = 200
SHELLS = ("bash", "sh")
MARKS = ("exec", "skip")
TOP: Schema = {
    **{key: HEADER[key] for key in ("name", "priority", "tags", "owner", "timeout", "requires")},
    "env": ("env", values.environment),
    "teardown": ("teardown", readers.text),
}
"""Key of the front matter's `tutorial` → (field, reader)."""
Words = tuple[dict[str, str], set[str]]
"""(key → value, flags) of a fence."""


def could_be(data: bytes) -> bool:
    """Whether a file's bytes are worth reading: most Markdown is no tutorial."""
    return b"tutorial" in data or b"exec" in data


def read_tutorial(file: Path, data: bytes, rules: PageRules | None = None) -> Tutorial | None:
    """The tutorial in a Markdown file's bytes, None where it holds none; raises `CatalogError` with all problems.

    Under another format's `rules` a tutorial goes by its path, and what its author calls it is for readers.
    """
    text = data.decode(errors="replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    front = read_front_matter(text)
    blank = "\n" * front.length + "\n".join(text.split("\n")[front.length :])
    found = fences(blank)
    if not front.present and not any(_is_exec(fence) for fence in found):
        return None
    if rules is not None and type(front.given) is dict:
        front.given.pop("name", None)
    reader = _Reader(front)
    tutorial = reader.read(file, found)
    if (bad := _not_text(data)) is not None:
        reader.fault(data.count(b"\n", 0, bad) + 1, f"is not UTF-8 text (byte 0x{data[bad]:02x})")
    if reader.faults:
        raise CatalogError(_problems(file, reader.faults))
    if tutorial is not None and rules is not None:
        tags = tuple(dict.fromkeys((*tutorial.tags, *rules.tags)))
        return dataclasses.replace(tutorial, tags=tags, name_line=None)
    return tutorial


def default_name(file: Path) -> str:
    """What a tutorial is called whose author didn't say: its file's name as a name may be."""
    words = re.sub(r"[^a-z0-9]+", "-", file.stem.lower())[:40].strip("-")
    return words or "tutorial"


class _Head(TableReader):
    def read(self, given: dict[str, Any]) -> dict[str, Any]:
        return self._table((), given, TOP)


class _Reader:
    """Takes down every fault on the way."""

    def __init__(self, front: FrontMatter) -> None:
        self.faults: list[tuple[int, str, str]] = [(line, KEY, why) for line, why in front.faults]
        self._front = front
        self._blocks: list[Block] = []
        self._ids: dict[str, int] = {}
        self._before: Fence | None = None
        """The last fence that is a step, or looks like one, for the expectations behind it."""
        self._tried = False
        """Whether any fence is to be executed, or was meant to be."""

    def read(self, file: Path, found: list[Fence]) -> Tutorial | None:
        fields = self._head()
        for fence in found:
            self._fence(fence)
            if len(self.faults) > MOST_FAULTS:
                break
        if not self._tried:
            self.fault(self._front.lines.get((), 1), "has nothing to execute; mark a block with ```bash exec", KEY)
        if len(self._blocks) > MOST_BLOCKS:
            self.fault(self._blocks[MOST_BLOCKS].line, f"has more than {MOST_BLOCKS} blocks")
        if self.faults:
            return None
        return Tutorial(
            **{"name": default_name(file), **fields},
            file=file,
            blocks=tuple(self._blocks),
            name_line=self._front.lines.get(("name",)),
        )

    def fault(self, line: int, why: str, key: str = "") -> None:
        self.faults.append((line, key, why))

    # --- front matter -------------------------------------------------------------------------------------------------

    def _head(self) -> dict[str, Any]:
        given = self._front.given
        if not self._front.present or self._front.faults or given == "":  # `tutorial:` alone: everything by default
            return {}
        if type(given) is not dict:
            self._at((), "expected keys below it: " + ", ".join(sorted(TOP)))
            return {}
        head = _Head()
        fields = head.read(given)
        for at, why in head.faults:
            self._at(at, why)
        if "teardown" in fields:
            fields["teardown"] = Teardown(line=self._front.lines[("teardown",)], script=fields["teardown"])
        return fields

    def _at(self, at: KeyPath, why: str) -> None:
        line = next(self._front.lines[at[:size]] for size in range(len(at), -1, -1) if at[:size] in self._front.lines)
        self.fault(line, why, key_name((KEY, *at)))

    # --- fences -------------------------------------------------------------------------------------------------------

    def _fence(self, fence: Fence) -> None:
        language = fence.info.partition(" ")[0]
        kind = "exec" if _is_exec(fence) else language
        self._tried |= kind == "exec"
        if kind in SHELLS:
            kind = "skip" if "skip" in fence.info.split() else "plain"
        read = _KINDS.get(kind)
        if read is None:
            return
        if not fence.closed:
            self.fault(fence.line, "the block is not closed; end it with a line of as many ` or ~ as it began with")
        read(self, fence)
        if kind != "output":
            self._before = fence

    def _words(self, fence: Fence, kind: str, keys: Collection[str], flags: Collection[str]) -> Words | None:
        """The words behind the language, every one of them known; None, and a fault, where that isn't so."""
        try:
            words = shlex.split(fence.info)[1:]
        except ValueError:
            self.fault(fence.line, "a quote in its words is not closed", kind)
            return None
        found: Words = ({}, set())
        before = len(self.faults)
        for word in words:
            key, equals, value = word.partition("=")
            if key in (found[0] if equals else found[1]):
                self.fault(fence.line, f"{shown(key)} is given twice", kind)
            elif equals and key in keys:
                found[0][key] = value
            elif not equals and word in flags:
                found[1].add(word)
            else:
                said = "needs a value: " + key + "=…" if key in keys else readers.unknown(key, [*keys, *flags])
                said = "takes no value" if equals and key in flags else said
                self.fault(fence.line, f"{shown(word)}: {said.replace('unknown key', 'unknown word')}", kind)
        return found if len(self.faults) == before else None

    def _value(
        self, fence: Fence, kind: str, given: Mapping[str, str], key: str, convert: Convert[readers.T]
    ) -> readers.T | None:
        if key not in given:
            return None
        try:
            return convert(given[key])
        except Refused as refused:
            self.fault(fence.line, f"{key}: {refused}", kind)
            return None

    def _exec(self, fence: Fence) -> None:
        language = fence.info.split()[0]
        if language not in SHELLS:
            self.fault(fence.line, f"{shown(language)} can't be executed; allowed: {', '.join(SHELLS)}", "exec")
            return
        words = self._words(fence, "exec", ("id", "dir", "timeout"), ("exec", "continue-on-error"))
        if words is None:
            return
        given, flags = words
        if not fence.content.strip():
            self.fault(fence.line, "is empty", "exec")
            return
        block = ShellBlock(
            line=fence.line,
            language=language,
            script=fence.content,
            id=self._id(fence, given),
            dir=str(self._value(fence, "exec", given, "dir", inner_path) or "."),
            timeout_s=self._value(fence, "exec", given, "timeout", _time),
            continue_on_error="continue-on-error" in flags,
        )
        self._blocks.append(block)

    def _skip(self, fence: Fence) -> None:
        words = self._words(fence, "skip", ("id",), ("skip",))
        if words is not None and fence.content.strip():
            block_id = self._id(fence, words[0])
            language = fence.info.split()[0]
            self._blocks.append(
                ShellBlock(line=fence.line, language=language, script=fence.content, id=block_id, skip=True)
            )

    def _plain(self, fence: Fence) -> None:
        """A block in a shell's language that nobody marked; words that were meant for the lab are not passed over."""
        for word in _split(fence.info)[1:]:
            key = word.partition("=")[0].lower()
            near = "exec" if key == "run" else next(iter(difflib.get_close_matches(key, MARKS, n=1, cutoff=0.7)), None)
            if near is not None or key in ("id", "dir", "timeout", "continue-on-error"):
                hint = f'; did you mean "{near}"?' if near else ""
                self.fault(fence.line, f"{shown(word)}, but the block is neither exec nor skip{hint}", "exec")
                self._tried |= near != "skip"
                return

    def _output(self, fence: Fence) -> None:
        words = self._words(fence, "output", (), ("contains", "regex"))
        if words is None:
            return
        if len(words[1]) != 1:
            say = "says neither contains nor regex" if not words[1] else "says both contains and regex"
            self.fault(
                fence.line, f"{say}; exactly one is needed (use ```text for output that is only shown)", "output"
            )
            return
        text = fence.content.removesuffix("\n")
        if not text.strip():
            self.fault(fence.line, "is empty, which every output would fit", "output")
        elif (why := _bad_regex(text)) and "regex" in words[1]:
            self.fault(fence.line, f"is not a regular expression: {why}", "output")
        else:
            self._expect(fence, Expectation(line=fence.line, text=text, is_regex="regex" in words[1]))

    def _expect(self, fence: Fence, expectation: Expectation) -> None:
        before, last = self._before, self._blocks[-1] if self._blocks else None
        if before is None:
            self.fault(fence.line, "no block comes before it whose output it could be", "output")
        elif isinstance(last, ShellBlock) and last.line == before.line:
            self._blocks[-1] = _with(last, expectation)
        elif not self.faults:  # else the block before may be one of those that are faulty
            self.fault(
                fence.line, f"the block before it, on line {before.line}, is not run; mark that exec or skip", "output"
            )

    def _assert(self, fence: Fence) -> None:
        words = self._words(fence, "assert", ("path",), ("file-exists",))
        if words is None:
            return
        given, flags = words
        path = self._path(fence, "assert", given)
        if not flags:
            self.fault(fence.line, "says nothing to assert; allowed: file-exists path=…", "assert")
        if fence.content.strip():
            self.fault(fence.line, "has content; file-exists needs none", "assert")
        if path is not None:
            self._blocks.append(AssertBlock(line=fence.line, path=path))

    def _file(self, fence: Fence) -> None:
        words = self._words(fence, "file", ("path",), ())
        path = None if words is None else self._path(fence, "file", words[0])
        if path == ".":
            self.fault(fence.line, 'path: "." is a folder', "file")
        elif path is not None:
            self._blocks.append(FileBlock(line=fence.line, path=path, content=fence.content))

    def _path(self, fence: Fence, kind: str, given: Mapping[str, str]) -> str | None:
        if "path" not in given:
            self.fault(fence.line, "path=… is missing", kind)
        return self._value(fence, kind, given, "path", inner_path)

    def _id(self, fence: Fence, given: Mapping[str, str]) -> str | None:
        found = self._value(fence, "exec", given, "id", values.tag)
        if found is not None and (first := self._ids.setdefault(found, fence.line)) != fence.line:
            self.fault(fence.line, f"id: {shown(found)} is already the id of the block on line {first}", "exec")
        return found


_KINDS: Mapping[str, Callable[[_Reader, Fence], None]] = {
    "exec": _Reader._exec,
    "skip": _Reader._skip,
    "plain": _Reader._plain,
    "output": _Reader._output,
    "assert": _Reader._assert,
    "file": _Reader._file,
}


def _split(info: str) -> list[str]:
    """Its words as a shell has them: what is quoted is a title, and no word for the lab."""
    try:
        return shlex.split(info)
    except ValueError:
        return info.split()


def _is_exec(fence: Fence) -> bool:
    return "exec" in _split(fence.info)[1:]


def _with(block: ShellBlock, expectation: Expectation) -> ShellBlock:
    return dataclasses.replace(block, expects=(*block.expects, expectation))


def inner_path(value: Any) -> str:
    """A path below the tutorial's own folder, by its words alone."""
    raw = readers.line(value)
    path = PurePosixPath(raw)
    if path.is_absolute() or ".." in path.parts or "\\" in raw or raw.startswith("~"):
        raise Refused(f"{shown(raw)} must be a path inside the tutorial's folder: relative, with / and without ..")
    return str(path)


def _bad_regex(text: str) -> str:
    try:
        pattern(text)
    except ValueError as error:
        return str(error)
    return ""


def _not_text(data: bytes) -> int | None:
    """Where a file is no text that a shell could take."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return data.index(b"\0") if b"\0" in data else None


def _problems(file: Path, faults: list[tuple[int, str, str]]) -> list[Problem]:
    found = [Problem(file=file, line=line, key=key, message=why) for line, key, why in sorted(faults)[:MOST_FAULTS]]
    if len(faults) > MOST_FAULTS:
        found.append(Problem(file=file, message=f"has more problems than these {MOST_FAULTS}"))
    return found


def _time(value: Any) -> float:
    """A block's time. Pages that were there before the lab give a number alone, which is seconds there."""
    return values.duration(f"{value}s" if type(value) is str and value.isdecimal() else value)
