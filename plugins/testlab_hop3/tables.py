"""Reads what concerns a test out of Hop3's own files; whatever else stands in them is Hop3's to judge."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pytest_testlab.catalog.read import parse_toml, problems
from pytest_testlab.catalog.readers import Convert, KeyPath, Refused
from pytest_testlab.errors import CatalogError

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")
KINDS: Mapping[type, str] = {str: "a string", bool: "a boolean", int: "an integer", dict: "a table", list: "an array"}


class Tables:
    """One parsed file. What is missing gives None; what is there and wrong is taken down with its place."""

    def __init__(self, file: Path, data: bytes) -> None:
        """Raises `CatalogError` for what is no TOML."""
        self.file = file
        self.document, self._text = parse_toml(file, data)
        self._faults: list[tuple[KeyPath, str]] = []

    @property
    def faulty(self) -> bool:
        """Whether anything was wrong up to now."""
        return bool(self._faults)

    def require_sound(self) -> None:
        """Raise `CatalogError` with everything that was wrong."""
        if self._faults:
            raise CatalogError(problems(self.file, self._text, self._faults))

    def fault(self, at: KeyPath, why: str) -> None:
        """Take down what is wrong with a value."""
        self._faults.append((at, why))

    def has(self, *at: str | int) -> bool:
        """Whether there is anything."""
        return self._at(at) is not None

    def table(self, *at: str | int) -> dict[str, Any]:
        """A table; empty where there is none."""
        return self._of(dict, at) or {}

    def text(self, *at: str | int, needed: bool = False) -> str | None:
        """A string that isn't empty; `needed`: its absence is a fault."""
        found = self._of(str, at)
        if needed and not self.has(*at):
            self.fault(at[:-1], f"{at[-1]} is missing")
        if found == "":
            self.fault(at, "must not be empty")
        return found

    def flag(self, *at: str | int) -> bool:
        """A boolean; false where there is none."""
        return bool(self._of(bool, at))

    def number(self, *at: str | int) -> int | None:
        """A whole number."""
        return self._of(int, at)

    def items(self, *at: str | int) -> list[Any]:
        """An array; empty where there is none."""
        return self._of(list, at) or []

    def rows(self, *at: str | int) -> int:
        """How many tables an array holds; whatever else is in it is a fault."""
        found = self.items(*at)
        for index, item in enumerate(found):
            if type(item) is not dict:
                self.fault((*at, index), f"expected a table, got {_kind(item)}")
                return 0
        return len(found)

    def words(self, *at: str | int) -> tuple[str, ...]:
        """An array of strings."""
        found = self.items(*at)
        for index, item in enumerate(found):
            if type(item) is not str:
                self.fault((*at, index), f"expected a string, got {_kind(item)}")
        return tuple(item for item in found if type(item) is str)

    def choice(self, kind: type[E], *at: str | int, needed: bool = False) -> E | None:
        """One of the values of an enumeration."""
        found = self.text(*at, needed=needed)
        if found is None or found in {one.value for one in kind}:
            return None if found is None else kind(found)
        self.fault(at, f"{found!r} is unknown; allowed: {', '.join(one.value for one in kind)}")
        return None

    def converted(self, convert: Convert[T], *at: str | int) -> T | None:
        """A value as one of the lab's own readers takes it."""
        given = self._at(at)
        if given is None:
            return None
        try:
            return convert(given)
        except Refused as refused:
            for inner, why in refused.faults:
                self.fault((*at, *inner), why)
            return None

    def _of(self, kind: type[T], at: KeyPath) -> T | None:
        found = self._at(at)
        if found is None or type(found) is kind:
            return found
        self.fault(at, f"expected {KINDS[kind]}, got {_kind(found)}")
        return None

    def _at(self, at: KeyPath) -> Any:
        found: Any = self.document
        for part in at:
            if isinstance(found, dict):
                found = found.get(str(part))
            elif isinstance(found, list) and isinstance(part, int) and part < len(found):
                found = found[part]
            else:
                return None
        return found


def _kind(value: object) -> str:
    return KINDS.get(type(value), f"a {type(value).__name__}")
