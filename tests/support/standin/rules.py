"""What the API enforces whatever is asked: names, labels, selectors, pages; and how it says no."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
Query = Mapping[str, Sequence[str]]
PER_PAGE = 25
MOST_PER_PAGE = 50
_VALUE = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_PREFIX = r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?"
_KEY = _PREFIX + _VALUE
_TERM = re.compile(
    rf"!\s*(?P<absent>{_KEY})"
    rf"|(?P<key>{_KEY})(?:\s*(?P<sign>==|=|!=)\s*(?P<value>{_VALUE})?|\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?"
)
_HOST_NAME = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


class ApiError(Exception):
    """A refusal, with the status and the code that the API has for it."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.body = {"error": {"code": code, "message": message, "details": dict(details or {})}}


def invalid(name: str, why: str) -> ApiError:
    """What is said about a field that can't be taken."""
    return ApiError(
        422, "invalid_input", f"invalid input in field '{name}'", {"fields": [{"name": name, "messages": [why]}]}
    )


def not_found(kind: str, key: object) -> ApiError:
    """There is nothing of that kind by that id."""
    return ApiError(404, "not_found", f"{kind} with ID '{key}' not found")


def check_labels(labels: object) -> dict[str, str]:
    """Labels as given, or `ApiError`: at most 63 of letters, digits, `-`, `_`, `.`, alphanumeric at both ends."""
    if not isinstance(labels, dict):
        raise invalid("labels", "must be an object")
    for key, value in labels.items():
        if not re.fullmatch(_KEY, key) or key.partition("/")[0].endswith("hetzner.cloud"):
            raise invalid("labels", f"key {key!r} is not allowed")
        if not isinstance(value, str) or (value and not re.fullmatch(_VALUE, value)):
            raise invalid("labels", f"value {value!r} of {key!r} is not allowed")
    return dict(labels)


def check_host_name(name: object) -> str:
    """A server's name: it must be a host name, of 63 letters at most between two dots."""
    if not isinstance(name, str) or not _HOST_NAME.fullmatch(name) or len(name) > 253:
        raise invalid("name", "must be a valid hostname")
    return name


def check_name(name: object) -> str:
    """A name of anything else."""
    if not isinstance(name, str) or not 1 <= len(name) <= 255:
        raise invalid("name", "must have 1 to 255 characters")
    return name


def selected(labels: Mapping[str, str], selector: str) -> bool:
    """Whether a selector fits; there is no `<` in it. Raises `ApiError`."""
    return all(_term(labels, term.strip()) for term in re.split(r",(?![^()]*\))", selector) if term.strip())


def _term(labels: Mapping[str, str], text: str) -> bool:
    term = _TERM.fullmatch(text)
    if term is None:
        raise invalid("label_selector", f"{text!r} can't be read")
    if term["absent"]:
        return term["absent"] not in labels
    key, has = term["key"], labels.get(term["key"])
    if term["set"]:
        among = {value.strip() for value in term["values"].split(",")}
        return (has in among) == (term["set"] == "in")
    if term["sign"]:
        return (has == (term["value"] or "")) == (term["sign"] != "!=")
    return key in labels


def one(query: Query, name: str) -> str | None:
    """The single value of a parameter."""
    values = query.get(name)
    return values[0] if values else None


def whole(text: object, name: str) -> int:
    """A number that was asked for; raises `ApiError`."""
    if isinstance(text, bool) or not re.fullmatch(r"\d{1,16}", str(text)):
        raise invalid(name, "must be an integer")
    return int(str(text))


def page(items: Sequence[T], query: Query) -> tuple[Sequence[T], dict[str, Any]]:
    """One page and its `meta`. The cloud gives 50 a page at most; here, who asks for more is told so."""
    number = whole(one(query, "page") or 1, "page")
    size = whole(one(query, "per_page") or PER_PAGE, "per_page")
    if not 1 <= size <= MOST_PER_PAGE:
        raise invalid("per_page", f"must be 1 to {MOST_PER_PAGE}")
    if number < 1:
        raise invalid("page", "must be 1 or more")
    last = max(1, -(-len(items) // size))
    meta = {
        "page": number,
        "per_page": size,
        "previous_page": number - 1 if number > 1 else None,
        "next_page": number + 1 if number < last else None,
        "last_page": last,
        "total_entries": len(items),
    }
    return items[(number - 1) * size : number * size], {"pagination": meta}


def in_order(items: Sequence[T], query: Query, keys: Mapping[str, Callable[[T], Any]]) -> list[T]:
    """As `sort` says, `id:asc` unless it says otherwise; raises `ApiError`."""
    ordered = list(items)
    for wish in reversed(query.get("sort") or ["id"]):
        key, _, way = wish.partition(":")
        if key not in keys or way not in ("", "asc", "desc"):
            raise invalid("sort", f"{wish!r} is not known")
        ordered.sort(key=keys[key], reverse=way == "desc")
    return ordered
