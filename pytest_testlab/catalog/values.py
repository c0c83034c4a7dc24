"""Strict readers of the values that a testlab.toml may hold. Nothing is coerced: a boolean is no integer.

Each reader takes what the parser gave and returns what the model holds, or raises `Refused`. A refusal never repeats a
value that could be a secret. Beside each stands what it `says` of itself to editors, in JSON Schema.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, TypeVar

from pytest_testlab.model import EnvValue, FailureClass, Generated, Priority, Requirement, SecretRef
from pytest_testlab.options import parse_duration

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys, and the indices of list items counted from 0."""
T = TypeVar("T")
Convert = Callable[[Any], T]
JsonSchema = dict[str, Any]

LONGEST_TEXT = 20_000
LONGEST_S = 24 * 3600.0
DEEPEST_JSON = 16
UNEXPECTABLE = {
    FailureClass.INFRA: "an outage of the lab would count as a pass",
    FailureClass.INDETERMINATE: "missing evidence would count as a pass",
}
RESERVED_ENV = {
    "PORT": "the platform sets it",
    "APP_URL": "script checks get the app's address there",
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"), "the lab's own proxy needs it"),
}
"""Names that an entry may not set, in any case, and why."""


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

_KINDS = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array", dict: "a table"}


def kind(value: object) -> str:
    """What a TOML value is, in words."""
    return _KINDS.get(type(value), "a date or time")


def shown(value: str) -> str:
    """A string as a message shows it: quoted, escaped, shortened."""
    return json.dumps(value if len(value) <= 60 else value[:59] + "…", ensure_ascii=False)


def unknown(key: str, allowed: Iterable[str]) -> str:
    """Why a key is refused, with the nearest one and the whole list."""
    allowed = sorted(allowed)
    close = difflib.get_close_matches(key, allowed, n=1, cutoff=0.6) if len(key) <= 60 else []
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return f"unknown key{hint} (allowed: {', '.join(allowed)})"


def _expected(what: str, value: object) -> Refused:
    return Refused(f"expected {what}, got {kind(value)}")


# --- plain values ----------------------------------------------------------------------------------------------------


@says(type="string", maxLength=LONGEST_TEXT, pattern=r"\S")
def text(value: Any) -> str:
    """A string that is not empty; may have several lines."""
    if type(value) is not str:
        raise _expected("a string", value)
    if not value.strip():
        raise Refused("must not be empty")
    if len(value) > LONGEST_TEXT:
        raise Refused(f"is longer than {LONGEST_TEXT} characters")
    if "\0" in value:
        raise Refused("must not hold the character U+0000")
    return value


_CONTROL = r"\u0000-\u001f\u007f-\u009f"


@says(type="string", maxLength=200, pattern=rf"^[^{_CONTROL}]*[^\s{_CONTROL}][^{_CONTROL}]*$")
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
        raise _expected("true or false", value)
    return value


@says(type="object")
def table(value: Any) -> dict[str, Any]:
    """A table."""
    if type(value) is not dict:
        raise _expected("a table", value)
    return value


def integer(least: int, most: int) -> Convert[int]:
    """A reader of integers within bounds."""

    @says(type="integer", minimum=least, maximum=most)
    def read(value: Any) -> int:
        if type(value) is not int:
            raise _expected(f"an integer from {least} to {most}", value)
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
            raise _expected("a string", value)
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
            raise _expected("a string", value)
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
            raise _expected("an array", value)
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


# --- the format's own words ------------------------------------------------------------------------------------------

_DURATION = 'a duration such as "90s", "10m" or "1h"'


@says(type="string", maxLength=20, pattern=r"^\s*(?=[0-9.]*[1-9])[0-9]+(\.[0-9]+)?[smh]?\s*$")
def duration(value: Any) -> float:
    """Seconds of "90s", "10m" or "1h"; at most 24 h."""
    if type(value) is not str:
        raise _expected(_DURATION, value)
    try:
        return _seconds(value)
    except ValueError:
        raise Refused(f"{shown(value)} is not {_DURATION} (above 0, at most 24h)") from None


@lru_cache(1000)
def _seconds(value: str) -> float:
    seconds = parse_duration(value) if len(value) <= 20 else math.inf
    if seconds > LONGEST_S:
        raise ValueError(value)
    return seconds


_name = matching(
    r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?",
    "1 to 40 of a-z, 0-9 and -, beginning and ending with a letter or digit",
)


@says(**said(_name), **{"not": {"pattern": "^xn--"}})
def entry_name(value: Any) -> str:
    """The name of an entry: a label of a host name, never a path."""
    name = _name(value)
    if name.startswith("xn--"):
        raise Refused(f'{shown(name)} is not allowed: host names that begin with "xn--" are encoded ones')
    return name


tag = matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", "1 to 40 of a-z, A-Z, 0-9, _, . and -, first a letter or digit")
secret_name = matching(
    r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?",
    "1 to 64 of a-z, 0-9 and -, beginning and ending with a letter or digit",
)
method = matching(r"[A-Z]{1,20}", 'an HTTP method in capitals, e.g. "POST"')
header = matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", "a header's name")
priority = one_of(Priority, Priority)
exit_code = integer(0, 255)
status = integer(100, 599)
_class = one_of(FailureClass, FailureClass)


@says(enum=[found.value for found in FailureClass if found not in UNEXPECTABLE])
def failure_class(value: Any) -> FailureClass:
    """A class that an entry may expect to fail with."""
    found = _class(value)
    if found in UNEXPECTABLE:
        raise Refused(f"{shown(found.value)} can't be expected: {UNEXPECTABLE[found]}")
    return found


_REQUIREMENT = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}?)[ \t]*([<>=!~].{0,200})?", re.ASCII)


@says(type="string", pattern=f"^{_REQUIREMENT.pattern}$")
def requirement(value: Any) -> Requirement:
    """A tool with an optional PEP 440 specifier: `python3>=3.11`."""
    if type(value) is not str:
        raise _expected('a tool such as "python3>=3.11"', value)
    return _requirement(value)


@lru_cache(1000)
def _requirement(value: str) -> Requirement:
    match = _REQUIREMENT.fullmatch(value)
    if match is None:
        raise Refused(f'{shown(value)} is not a tool with an optional version, e.g. "git" or "python3>=3.11"')
    tool, specifier = match[1], (match[2] or "").strip()
    if specifier:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet  # only entries that name a version pay for it

        try:
            SpecifierSet(specifier)
        except InvalidSpecifier:
            raise Refused(f"{shown(specifier)} is not a version specifier, e.g. >=3.11 or >=18,<21") from None
    return Requirement(tool=tool, specifier=specifier)


@says(type="string", maxLength=LONGEST_TEXT, pattern=r'^/(?!/)[!-"$-~]*$')
def url_path(value: Any) -> str:
    """The path of a request: begins with one slash, and is ASCII without spaces, as it goes over the wire."""
    path = text(value)
    if path[0] != "/" or path.startswith("//"):
        raise Refused(f'{shown(path)} must begin with one "/"; the host is always the app\'s own')
    if not path.isascii() or not path.isprintable() or " " in path or "#" in path:
        raise Refused(f"{shown(path)} must be percent-encoded: ASCII without spaces and #")
    return path


@says(**said(line) | {"pattern": rf"^(?!/)(?!(.*/)?\.\.(/|$))[^\\{_CONTROL}]*[^\s\\{_CONTROL}][^\\{_CONTROL}]*$"})
def inner_path(value: Any) -> PurePosixPath:
    """A path inside the entry's folder, by its words alone; what stands on the disk is checked later."""
    raw = line(value)
    path = PurePosixPath(raw)
    if path.is_absolute() or ".." in path.parts or "\\" in raw:
        raise Refused(f"{shown(raw)} must be a path inside the entry's folder: relative, with / and without ..")
    return path


_length = integer(8, 256)
_ENV_TABLES: dict[str, Convert[SecretRef | Generated]] = {
    "secret": lambda value: SecretRef(name=secret_name(value)),
    "generate": lambda value: Generated(length=_length(value)),
}


@says(
    anyOf=[
        {"type": "string", "maxLength": LONGEST_TEXT},
        *(
            {"type": "object", "properties": {key: taken}, "required": [key], "additionalProperties": False}
            for key, taken in (("secret", said(secret_name)), ("generate", said(_length)))
        ),
    ]
)
def env_value(value: Any) -> EnvValue:
    """A string, `{ secret = "name" }` or `{ generate = 24 }`."""
    if type(value) is str:
        if len(value) > LONGEST_TEXT or "\0" in value:
            raise Refused(f"must hold at most {LONGEST_TEXT} characters, none of them U+0000")
        return value
    if type(value) is dict and len(value) == 1:
        ((key, inner),) = value.items()
        if key in _ENV_TABLES:
            return _inside(key, _ENV_TABLES[key], inner)
    raise Refused(
        f'expected a string, {{ secret = "name" }} or {{ generate = 24 }}, got {kind(value)}'
        + (f" with {', '.join(map(shown, list(value)[:5])) or 'no keys'}" if type(value) is dict else "")
    )


def _inside(key: str, convert: Convert[T], value: Any) -> T:
    try:
        return convert(value)
    except Refused as refused:
        raise Refused.of([((key, *at), why) for at, why in refused.faults]) from None


_ENV_KEY = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
_env_key = re.compile(_ENV_KEY).fullmatch


def _any_case(word: str) -> str:
    """A pattern of a word in capitals or not; JSON Schema has no flags."""
    return "".join(f"[{letter}{letter.lower()}]" if letter.isalpha() else letter for letter in word)


_RESERVED = f"({'|'.join(map(_any_case, RESERVED_ENV))})$|{_any_case('TESTLAB_')}"


@says(
    type="object",
    maxProperties=200,
    propertyNames={"pattern": f"^(?!{_RESERVED}){_ENV_KEY}$"},
    additionalProperties=said(env_value),
)
def env(value: Any) -> dict[str, EnvValue]:
    """The table [env]."""
    return _mapping(table(value), _refuse_env_key, env_value, most=200)


def environment(value: Any) -> dict[str, EnvValue]:
    """As `env`, for what has no app, from a format whose scalars are all strings: `{ generate: 24 }` has digits."""
    items = {key: _with_number(inner) for key, inner in table(value).items()}
    return _mapping(items, _refuse_name, env_value, most=200)


def _with_number(value: Any) -> Any:
    digits = value.get("generate") if type(value) is dict else None
    if isinstance(digits, str) and digits.isascii() and digits.isdecimal() and len(digits) < 5:
        return {**value, "generate": int(digits)}
    return value


def _refuse_env_key(key: str) -> str | None:
    upper = key.upper()
    return f"is reserved: {RESERVED_ENV[upper]}" if upper in RESERVED_ENV else _refuse_name(key)


def _refuse_name(key: str) -> str | None:
    if not _env_key(key):
        return "is not a variable's name; allowed: letters, digits and _, not beginning with a digit"
    return "is reserved: names that begin with TESTLAB_ are the lab's" if key.upper().startswith("TESTLAB_") else None


@says(
    type="object",
    minProperties=1,
    maxProperties=50,
    propertyNames={"pattern": said(header)["pattern"]},
    additionalProperties=said(line),
)
def headers(value: Any) -> dict[str, str]:
    """Header → text that its value must contain."""
    return _mapping(_filled(value), _refuse_header, line, most=50)


def _refuse_header(key: str) -> str | None:
    try:
        header(key)
    except Refused as refused:
        return str(refused)
    return None


def _filled(value: Any) -> dict[str, Any]:
    if not table(value):
        raise Refused("must not be empty: an empty table asserts nothing")
    return table(value)


def _mapping(
    items: dict[str, Any], refuse: Callable[[str], str | None], convert: Convert[T], *, most: int
) -> dict[str, T]:
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


@says(type="object", minProperties=1, maxProperties=100, propertyNames={"minLength": 1})
def json_values(value: Any) -> dict[str, Any]:
    """Dotted path → value. Nested tables mean the same as dotted keys, so that quotes don't change the meaning."""
    found: dict[str, Any] = {}
    faults: list[tuple[KeyPath, str]] = []
    _flatten(_filled(value), (), found, faults)
    if len(found) > 100:
        raise Refused(f"must hold at most 100 values, got {len(found)}")
    if faults:
        raise Refused.of(faults)
    return found


def _flatten(items: Mapping[str, Any], at: KeyPath, found: dict[str, Any], faults: list[tuple[KeyPath, str]]) -> None:
    if len(at) > DEEPEST_JSON:
        faults.append((at, f"is nested deeper than {DEEPEST_JSON} levels"))
        return
    for key, value in items.items():
        here = (*at, key)
        dotted = ".".join(map(str, here))
        if not key or dotted in found:
            faults.append((here, "is given twice" if key else "a path must not be empty"))
        elif type(value) is dict and value:
            _flatten(value, here, found, faults)
        elif (why := _not_json(value, DEEPEST_JSON)) is not None:
            faults.append((here, why))
        else:
            found[dotted] = value


def _not_json(value: Any, depth: int) -> str | None:
    if depth == 0:
        return f"is nested deeper than {DEEPEST_JSON} levels"
    if type(value) in (list, dict):
        inner = value if type(value) is list else value.values()
        return next((why for item in inner if (why := _not_json(item, depth - 1)) is not None), None)
    if type(value) is float and not math.isfinite(value):
        return "JSON has no such number"
    return None if type(value) in _KINDS else "JSON has no dates; give the text that the answer holds"
