"""Picks the few lines of a log that tell most: a traceback's end, errors near the end, what a proxy complained of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pytest_testlab.model import FailureClass

_LINES = 400
"""Only the last lines of a section are looked at: what ended an attempt stands at the end."""
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)|[@-_])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_MASK = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}|\d+", re.IGNORECASE)
_RAISED = re.compile(r"^(?:[\w.]{1,100}(?:Error|Exception|Exit|Interrupt|Failed|Refused|Timeout)\b|[\w.]{1,100}: )")
_STRONG = re.compile(
    r"(?i)\b(?:\w{0,60}(?:error|exception)\b\s*[:=(]|fatal\b|panic\b|npm err!|npm error|segmentation fault"
    r"|out of memory|oom-kill|killed process|cannot |can't |could ?n[o']t |no such file|not found|permission denied"
    r"|address already in use|connection refused|connect\(\) failed|upstream |no live upstreams|no module named"
    r"|undefined reference|command not found|no space left|\[(?:error|crit|alert|emerg)\]|critical\b|unhandled)"
)
_WEAK = re.compile(r"(?i)\b(?:error|failed|failure|refused|timed? ?out|denied|invalid|exited|aborted|warn(?:ing)?)\b")
_INNOCENT = re.compile(r"(?i)\b(?:0 errors?|no errors?|errors?[:=] ?0|error_log|without errors?)\b")
_ACCESS = re.compile(r'" [1-5]\d\d ')
_ACCESS_5XX = re.compile(r'" 5\d\d ')
_MINUTE = re.compile(r"(?<![\d:])\d\d:\d\d(?=:\d\d)")
_BEFORE = 2
"""How many lines right before that of a request may be about it."""

_WHERE: Mapping[FailureClass, tuple[str, ...]] = {
    FailureClass.INFRA: ("build", "blocks", "deploy", "journald"),
    FailureClass.BUILD_FAILURE: ("build",),
    FailureClass.DEPLOY_FAILURE: ("deploy", "front error", "app", "journald"),
    FailureClass.ADDON_UNREACHABLE: ("app", "deploy"),
    FailureClass.APP_CRASH: ("app", "journald"),
    FailureClass.APP_ERROR: ("app", "front error"),
    FailureClass.PROXY_502: ("front error", "app"),
    FailureClass.TIMEOUT: ("app", "front error", "build"),
    FailureClass.CHECK_FAILED: ("http", "target", "app", "front error"),
    FailureClass.INDETERMINATE: ("app", "front error", "deploy", "build"),
}


def plain(text: str) -> str:
    """One line without colours, control characters, and marks that turn the direction of text."""
    return " ".join(_CONTROL.sub(" ", _ANSI.sub("", text)).split())


def telling_lines(sections: Mapping[str, bytes], failure_class: FailureClass, *, most: int) -> list[str]:
    """At most `most` lines, each led by its section's name, from the sections that matter for the class.

    The first section that has something to tell gives most of them; they stand in the order of the log.
    """
    picked: list[str] = []
    for kind in _WHERE[failure_class]:
        for name, text in sections.items():
            if len(picked) < most and _is(name, kind):
                room = min(3, most - len(picked)) if picked else most
                picked += [f"{name}: {line}" for line in _pick(text, room, fallback=not picked)]
    return picked[:most]


def _is(name: str, kind: str) -> bool:
    if kind == "front error":
        return "error" in name or ("front" in name and "access" not in name) or name == "nginx"
    return name == kind or name.startswith(f"{kind}-")


def _pick(text: bytes, most: int, *, fallback: bool) -> list[str]:
    lines = _lines(text)
    scored: dict[str, tuple[int, int, str]] = {}
    for number, line in enumerate(lines):
        score = _score(lines, number)
        shown = plain(line)
        if score and shown:
            # Of lines that differ in numbers alone the last one stands for all.
            key = _MASK.sub("#", shown)
            scored[key] = max(scored.get(key, (0, 0, "")), (score, number, shown))
    best = sorted(scored.values(), reverse=True)[:most]
    if best:
        return [shown for _, _, shown in sorted(best, key=lambda item: item[1])]
    return list(_last(lines, min(2, most))) if fallback else []


def _score(lines: list[str], number: int) -> int:
    line = lines[number]
    if _INNOCENT.search(line):
        return 0
    if _ends_traceback(lines, number):
        return 4
    if _STRONG.search(line):
        return 3
    if _ACCESS_5XX.search(line):
        return 2
    if _is_about_5xx(lines, number):
        return 3
    return 1 if _WEAK.search(line) and not line.startswith("    ") else 0  # indented: code of a traceback


def _is_about_5xx(lines: list[str], number: int) -> bool:
    """Whether it stands right before a request's own line that ends in 5xx, is of the same minute, and no other's."""
    said = _MINUTE.search(lines[number])
    if said is None or _ACCESS.search(lines[number]):
        return False
    for line in lines[number + 1 : number + 1 + _BEFORE]:
        if _ACCESS.search(line):
            asked = _MINUTE.search(line)
            return bool(_ACCESS_5XX.search(line)) and asked is not None and asked[0] == said[0]
    return False


def has_traceback(sections: Mapping[str, bytes], kind: str) -> bool:
    """Whether a section of this kind shows where in its code something raised."""
    for name, text in sections.items():
        lines = _lines(text) if _is(name, kind) else []
        if any(_ends_traceback(lines, number) for number in range(len(lines))):
            return True
    return False


def _lines(text: bytes) -> list[str]:
    return text[-100_000:].decode(errors="replace").splitlines()[-_LINES:]


def _ends_traceback(lines: list[str], number: int) -> bool:
    """Whether this is the line with the exception's own words: the first one further out below a traceback."""
    if not _RAISED.match(lines[number].strip()) or lines[number].startswith("  "):
        return False
    above = [line for line in lines[max(0, number - 4) : number] if line.strip()]
    return bool(above) and (above[-1].startswith("  ") or above[-1].lstrip().startswith(("File ", "at ")))


def _last(lines: list[str], count: int) -> Iterator[str]:
    """The last lines that differ by more than numbers; indented ones (an answer's body, a frame) only where all are."""
    said = [line for line in lines[-50:] if line.strip()]
    shown = [plain(line) for line in said if not line.startswith("  ")] or [plain(line) for line in said]
    alike = {_MASK.sub("#", line): line for line in shown if line}
    yield from list(alike.values())[-count:]
