"""The words of a testlab.toml: strict readers of what its keys hold, made of those in `readers`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from pytest_testlab.catalog.readers import (
    CONTROL,
    KINDS,
    LONGEST_TEXT,
    Convert,
    KeyPath,
    Refused,
    expected,
    filled,
    inside,
    integer,
    kind,
    line,
    mapping,
    matching,
    one_of,
    said,
    says,
    shown,
    table,
    text,
)
from pytest_testlab.model import EnvValue, FailureClass, Generated, Priority, Requirement, SecretRef
from pytest_testlab.options import parse_duration

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


_DURATION = 'a duration such as "90s", "10m" or "1h"'


@says(type="string", maxLength=20, pattern=r"^\s*(?=[0-9.]*[1-9])[0-9]+(\.[0-9]+)?[smh]\s*$")
def duration(value: Any) -> float:
    """Seconds of "90s", "10m" or "1h"; at most 24 h."""
    if type(value) is not str:
        raise expected(_DURATION, value)
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
        raise expected('a tool such as "python3>=3.11"', value)
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


@says(**said(line) | {"pattern": rf"^(?!/)(?!(.*/)?\.\.(/|$))[^\\{CONTROL}]*[^\s\\{CONTROL}][^\\{CONTROL}]*$"})
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
            return inside(key, _ENV_TABLES[key], inner)
    raise Refused(
        f'expected a string, {{ secret = "name" }} or {{ generate = 24 }}, got {kind(value)}'
        + (f" with {', '.join(map(shown, list(value)[:5])) or 'no keys'}" if type(value) is dict else "")
    )


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
    return mapping(table(value), _refuse_env_key, env_value, most=200)


def environment(value: Any) -> dict[str, EnvValue]:
    """As `env`, for what has no app, from a format whose scalars are all strings: `{ generate: 24 }` has digits."""
    items = {key: _with_number(inner) for key, inner in table(value).items()}
    return mapping(items, _refuse_name, env_value, most=200)


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
    return mapping(filled(value), _refuse_header, line, most=50)


def _refuse_header(key: str) -> str | None:
    try:
        header(key)
    except Refused as refused:
        return str(refused)
    return None


@says(type="object", minProperties=1, maxProperties=100, propertyNames={"minLength": 1})
def json_values(value: Any) -> dict[str, Any]:
    """Dotted path → value. Nested tables mean the same as dotted keys, so that quotes don't change the meaning."""
    found: dict[str, Any] = {}
    faults: list[tuple[KeyPath, str]] = []
    _flatten(filled(value), (), found, faults)
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
    return None if type(value) in KINDS else "JSON has no dates; give the text that the answer holds"
