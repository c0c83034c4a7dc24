"""Strict readers of plain values out of TOML, and what they are made of. Nothing is coerced: a boolean is no integer.

Each reader takes what the parser gave and returns what the model holds, or raises `Refused`. A refusal never repeats a
value that could be a secret. Beside each stands what it `says` of itself to editors, in JSON Schema.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys, and the indices of list items counted from 0."""
T = TypeVar("T")
Convert = Callable[[Any], T]
JsonSchema = dict[str, Any]

LONGEST_TEXT = 20_000


class Refused(Exception):
    """A value isn't what it has to be: (where inside the value, why), one for each fault."""

    def __init__(self, why: str, at: KeyPath = ()) -> None:
        super().__init__(why)
        self.faults: list[tuple[KeyPath, str]] = [(at, why)]

    @classmethod
    def of(cls, faults: list[tuple[KeyPath, str]]) -> Refused:
        """One refusal that says all of `faults`."""
        refused = cls("")
        refused.faults = faults
        return refused


# --- words for editors -----------------------------------------------------------------------------------------------

_SAID: dict[Convert[Any], JsonSchema] = {}


def says(**schema: Any) -> Callable[[Convert[T]], Convert[T]]:
    """Note what a reader takes, in keywords of JSON Schema; what it refuses besides stands in `json_schema.BEYOND`."""

    def note(convert: Convert[T]) -> Convert[T]:
        _SAID[convert] = schema
        return convert

    return note


def said(convert: Convert[Any]) -> JsonSchema:
    """The JSON Schema of what a reader takes; raises `KeyError` for one that says nothing."""
    return _SAID[convert]


# --- words for messages ----------------------------------------------------------------------------------------------

KINDS = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array", dict: "a table"}


def kind(value: object) -> str:
    """What a TOML value is, in words."""
    return KINDS.get(type(value), "a date or time")


def shown(value: str) -> str:
    """A string as a message shows it: quoted, escaped, shortened."""
    return json.dumps(value if len(value) <= 60 else value[:59] + "…", ensure_ascii=False)


def unknown(key: str, allowed: Iterable[str]) -> str:
    """Why a key is refused, with the nearest one and the whole list."""
    allowed = sorted(allowed)
    close = difflib.get_close_matches(key, allowed, n=1, cutoff=0.6) if len(key) <= 60 else []
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return f"unknown key{hint} (allowed: {', '.join(allowed)})"


def expected(what: str, value: object) -> Refused:
    """What is raised for a value of another kind."""
    return Refused(f"expected {what}, got {kind(value)}")


# --- plain values ----------------------------------------------------------------------------------------------------


@says(type="string", maxLength=LONGEST_TEXT, pattern=r"\S")
def text(value: Any) -> str:
    """A string that is not empty; may have several lines."""
    if type(value) is not str:
        raise expected("a string", value)
    if not value.strip():
        raise Refused("must not be empty")
    if len(value) > LONGEST_TEXT:
        raise Refused(f"is longer than {LONGEST_TEXT} characters")
    if "\0" in value:
        raise Refused("must not hold the character U+0000")
    return value


CONTROL = r"\u0000-\u001f\u007f-\u009f"


@says(type="string", maxLength=200, pattern=rf"^[^{CONTROL}]*[^\s{CONTROL}][^{CONTROL}]*$")
def line(value: Any) -> str:
    """A string of one printable line of at most 200 characters."""
    if not text(value).isprintable():
        raise Refused("must be one line without control characters")
    if len(value) > 200:
        raise Refused("is longer than 200 characters")
    return str(value)


@says(type="boolean")
def boolean(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise expected("true or false", value)
    return value


@says(type="object")
def table(value: Any) -> dict[str, Any]:
    """A table."""
    if type(value) is not dict:
        raise expected("a table", value)
    return value


def integer(least: int, most: int) -> Convert[int]:
    """A reader of integers within bounds."""

    @says(type="integer", minimum=least, maximum=most)
    def read(value: Any) -> int:
        if type(value) is not int:
            raise expected(f"an integer from {least} to {most}", value)
        if not least <= value <= most:
            raise Refused(f"must be an integer from {least} to {most}")
        return value

    return read


def matching(pattern: str, allowed: str) -> Convert[str]:
    """A reader of strings that fit a pattern; `allowed` says it in words."""
    fits = re.compile(pattern).fullmatch

    @says(type="string", pattern=f"^{pattern}$")
    def read(value: Any) -> str:
        if type(value) is not str:
            raise expected("a string", value)
        if not fits(value):
            raise Refused(f"{shown(value)} is not allowed; allowed: {allowed}")
        return value

    return read


def one_of(allowed: Iterable[str], make: Callable[[str], T]) -> Convert[T]:
    """A reader of one word out of a few."""
    known = {word: make(word) for word in allowed}

    @says(enum=list(known))
    def read(value: Any) -> T:
        if type(value) is not str:
            raise expected("a string", value)
        if value not in known:
            raise Refused(f"{shown(value)} is unknown; allowed: {', '.join(known)}")
        return known[value]

    return read


def many(convert: Convert[T], most: int, *, least: int = 0, unique: bool = False) -> Convert[tuple[T, ...]]:
    """A reader of arrays; every bad item is named."""
    bounds = {"minItems": least, "maxItems": most} if least else {"maxItems": most}

    @says(type="array", items=said(convert), **bounds, **({"uniqueItems": True} if unique else {}))
    def read(value: Any) -> tuple[T, ...]:
        if type(value) is not list:
            raise expected("an array", value)
        if not least <= len(value) <= most:
            raise Refused(f"must hold {least} to {most} items, got {len(value)}")
        items: list[T] = []
        faults: list[tuple[KeyPath, str]] = []
        for index, item in enumerate(value):
            try:
                items.append(convert(item))
                if unique and items.index(items[-1]) < len(items) - 1:
                    faults.append(((index,), f"{shown(str(item))} is given twice"))
            except Refused as refused:
                faults += [((index, *at), why) for at, why in refused.faults]
        if faults:
            raise Refused.of(faults)
        return tuple(items)

    return read


# --- tables -----------------------------------------------------------------------------------------------------------


def inside(key: str, convert: Convert[T], value: Any) -> T:
    """Read the value of a key; what is refused in it is named below that key."""
    try:
        return convert(value)
    except Refused as refused:
        raise Refused.of([((key, *at), why) for at, why in refused.faults]) from None


def filled(value: Any) -> dict[str, Any]:
    """A table that is not empty."""
    if not table(value):
        raise Refused("must not be empty: an empty table asserts nothing")
    return table(value)


def mapping(
    items: dict[str, Any], refuse: Callable[[str], str | None], convert: Convert[T], *, most: int
) -> dict[str, T]:
    """A table of likes: `refuse` says what is wrong with a key; every bad key and value is named."""
    if len(items) > most:
        raise Refused(f"must hold at most {most} keys, got {len(items)}")
    found: dict[str, T] = {}
    faults: list[tuple[KeyPath, str]] = []
    for key, value in items.items():
        if (why := refuse(key)) is not None:
            faults.append(((key,), why))
            continue
        try:
            found[key] = convert(value)
        except Refused as refused:
            faults += [((key, *at), why) for at, why in refused.faults]
    if faults:
        raise Refused.of(faults)
    return found
