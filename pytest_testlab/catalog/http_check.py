"""A check by HTTP: asked through the front door until the answer holds what it should, or its time is up."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from pytest_testlab.catalog.polling import tries
from pytest_testlab.catalog.transcript import Asker, one_line
from pytest_testlab.errors import CheckFailed, NoAnswer
from pytest_testlab.model import HttpCheck
from pytest_testlab.protocols import HttpAnswer

REDIRECTS = (301, 302, 303, 307, 308)
SEE_OTHER = 303
MOST_REDIRECTS = 10
SAFE = ("GET", "HEAD", "OPTIONS")
TIMED_OUT = "no answer (timeout)"
NOT_REACHED = (502, 503, 504)
"""Answers of a front door that has not got through to the app."""
Mismatch = tuple[str, str]
"""What was expected, what was got."""


def check_http(asker: Asker, step: int, check: HttpCheck, within_s: float, host: str = "") -> None:
    """Ask until the answer is as the check says; raises `CheckFailed` with the last one after `within_s` seconds.

    A try that the end cut short says less than an answer before it, which then counts as the last one.

    `host` is the app's own name: redirects there, and those without a host, are the only ones that are followed.

    A method that may change something (POST, PUT, …) is sent again only where it hasn't reached the app.
    """
    until = time.monotonic() + within_s
    last = CheckFailed(step, check.name, "an answer", "no time to ask", deadline_s=within_s)
    for left in tries(until):
        failure, again = _once(asker, step, check, left, within_s, host)
        if failure is None:
            return
        if failure.got != TIMED_OUT or last.status is None or left >= within_s / 2:
            last = failure
        if not again:
            break
    raise last


def _once(
    asker: Asker, step: int, check: HttpCheck, left: float, within_s: float, host: str
) -> tuple[CheckFailed | None, bool]:
    """(what failed, whether it may be tried again)."""
    safe = check.method in SAFE
    try:
        answer = asker.ask(check.method, check.path, left)
        if check.follow and safe:
            answer = _followed(asker, check, answer, left, host)
    except NoAnswer as no:
        got = f"no answer ({no.kind})"
        failure = CheckFailed(step, check.name, "an answer", got, deadline_s=within_s)
        return failure, safe or no.kind == "refused"
    mismatch = next(_mismatches(check, answer), None)
    if mismatch is None:
        return None, False
    failure = CheckFailed(step, check.name, *mismatch, status=answer.status)
    return failure, safe or answer.status in NOT_REACHED


def _followed(asker: Asker, check: HttpCheck, answer: HttpAnswer, left: float, host: str) -> HttpAnswer:
    """The last answer of a chain of redirects that stays with the app, or leaves it."""
    until, path = time.monotonic() + left, check.path
    for _ in range(MOST_REDIRECTS):
        location = answer.headers.get("location", "")
        if answer.status not in REDIRECTS or not location:
            break
        there = urlsplit(urljoin(f"//{host}{path}", location))
        if there.hostname != host:
            break
        path = urlunsplit(("", "", there.path or "/", there.query, ""))
        answer = asker.ask("GET" if answer.status == SEE_OTHER else check.method, path, until - time.monotonic())
    return answer


def _mismatches(check: HttpCheck, answer: HttpAnswer) -> Iterator[Mismatch]:
    if check.statuses:
        if answer.status not in check.statuses:
            yield f"status {' or '.join(map(str, check.statuses))}", f"status {answer.status}: {_body(answer)}"
    elif check.status is not None and answer.status != check.status:
        yield f"status {check.status}", f"status {answer.status}: {_body(answer)}"
    elif check.status is None and answer.status >= 400:
        yield "a status below 400", f"status {answer.status}: {_body(answer)}"
    for name, text in check.headers.items():
        value = answer.headers.get(name.lower())
        if value is None or text not in value:
            got = "no such header" if value is None else repr(one_line(value))
            yield f"a header {name} that contains {text!r}", got
    if check.contains is not None and check.contains not in answer.body.decode(errors="replace"):
        yield f"a body that contains {check.contains!r}", _body(answer)
    if check.json:
        yield from _json_mismatches(check, answer)


def _body(answer: HttpAnswer) -> str:
    return repr(one_line(answer.body)) if answer.body else "an empty body"


def _json_mismatches(check: HttpCheck, answer: HttpAnswer) -> Iterator[Mismatch]:
    try:
        document = json.loads(answer.body)
    except ValueError:
        yield "a body that is JSON", _body(answer)
        return
    for path, wanted in check.json.items():
        found = value_at(document, path)
        if not same(found, wanted):
            got = "nothing there" if found is MISSING else one_line(json.dumps(found))
            yield f"JSON with {path} = {json.dumps(wanted, default=str)}", got


MISSING = object()


def value_at(document: Any, path: str) -> Any:
    """What stands at a dotted path, numbers being places in a list; `MISSING` where there is nothing."""
    for part in path.split("."):
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            return MISSING
    return document


def same(found: Any, wanted: Any) -> bool:
    """Equality as JSON has it: true is not 1, and 1 is 1.0."""
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[key], wanted[key]) for key in wanted)
    if isinstance(found, list) and isinstance(wanted, list | tuple):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return bool(found == wanted)
