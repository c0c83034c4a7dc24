"""Reads the lines that a probe printed on a target. They are untrusted: a line that can't be read is said to be so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from pytest_testlab.errors import beginning
from pytest_testlab.evidence import AddonProbe, Answer, Listener, NetworkProbe, ProbeFacts, ProcessState

MAX_LINES = 500
MAX_VALUE = 300
_PAIR = re.compile(r'([A-Za-z][A-Za-z0-9_-]*)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?:\s+|$)')
_KIND = re.compile(r"([a-z][a-z-]*)(?:\s+|$)")
_ESCAPE = re.compile(r"\\(.)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
State = Literal["running", "exited", "restarting", "absent"]


@dataclass
class _Gathered:
    process: ProcessState | None = None
    listeners: list[Listener] = field(default_factory=list)
    inside: list[Answer] = field(default_factory=list)
    front_door: Answer | None = None
    unknown_host: Answer | None = None
    unknown_host_same: bool | None = None
    addons: list[AddonProbe] = field(default_factory=list)
    network: list[NetworkProbe] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def parse_probe(texts: Iterable[bytes]) -> ProbeFacts:
    """The facts in probe lines (docs/reference/probe-lines.md); a malformed line becomes `missing["probe line N"]`."""
    gathered = _Gathered()
    lines = [line for text in texts for line in text.decode(errors="replace").splitlines()]
    for number, line in enumerate(lines[:MAX_LINES], start=1):
        if line.strip():
            _read(number, line.strip(), gathered)
    if len(lines) > MAX_LINES:
        gathered.missing[f"probe lines after {MAX_LINES}"] = f"there are {len(lines)} lines, too many to be a probe's"
    return ProbeFacts(
        process=gathered.process,
        listeners=tuple(gathered.listeners),
        inside=tuple(gathered.inside),
        front_door=gathered.front_door,
        unknown_host=gathered.unknown_host,
        unknown_host_same=gathered.unknown_host_same,
        addons=tuple(gathered.addons),
        network=tuple(gathered.network),
        missing=gathered.missing,
    )


def _read(number: int, line: str, gathered: _Gathered) -> None:
    try:
        kind, values = _split(line)
        _READERS.get(kind, _unknown_kind)(values, gathered)
    except (ValueError, KeyError) as error:
        why = f"no {error.args[0]}=" if isinstance(error, KeyError) else str(error)
        gathered.missing[f"probe line {number}"] = beginning(_CONTROL.sub(" ", f"{why}: {line}"), MAX_VALUE)


def _split(line: str) -> tuple[str, dict[str, str]]:
    kind = _KIND.match(line)
    if kind is None:
        raise ValueError("not a probe line")
    values: dict[str, str] = {}
    position = kind.end()
    while position < len(line):
        pair = _PAIR.match(line, position)
        if pair is None:
            raise ValueError("not key=value")
        values.setdefault(pair[1], _plain(pair[2]))
        position = pair.end()
    return kind[1], values


def _plain(value: str) -> str:
    if value.startswith('"'):
        value = _ESCAPE.sub(lambda match: {"n": " ", "t": " ", "r": " "}.get(match[1], match[1]), value[1:-1])
    return beginning(_CONTROL.sub(" ", value), MAX_VALUE)


def _number(values: dict[str, str], key: str) -> int | None:
    text = values.get(key, "")
    if text in ("", "-"):
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise ValueError(f"{key}={text!r} is not a number")
    return int(text)


def _yes(values: dict[str, str], key: str) -> bool:
    if values[key] not in ("yes", "no"):
        raise ValueError(f"{key}={values[key]!r} is neither yes nor no")
    return values[key] == "yes"


def _filled(values: dict[str, str], key: str) -> str:
    if not values[key]:
        raise ValueError(f"{key}= is empty")
    return values[key]


def _state(text: str) -> State:
    for state in get_args(State):
        if text == state:
            return cast(State, state)
    raise ValueError(f"state={text!r} is unknown")


def _answer(values: dict[str, str]) -> Answer:
    status, error = _number(values, "status"), values.get("error") or None
    if (status is None) == (error is None):
        raise ValueError("neither a status nor an error, or both")
    if status is not None and not 100 <= status <= 599:
        raise ValueError(f"status={status} is not an HTTP status")
    seconds = values.get("seconds", "")
    if seconds and not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?", seconds):
        raise ValueError(f"seconds={seconds!r} is not a duration")
    return Answer(
        address=_filled(values, "address"),
        status=status,
        error=error,
        seconds=float(seconds) if seconds else None,
        declared="declared" in values and _yes(values, "declared"),
    )


def _process(values: dict[str, str], gathered: _Gathered) -> None:
    gathered.process = ProcessState(
        state=_state(values["state"]),
        pid=_number(values, "pid"),
        starts=_number(values, "starts") or 0,
        exit_code=_number(values, "exit"),
    )


def _listener(values: dict[str, str], gathered: _Gathered) -> None:
    gathered.listeners.append(
        Listener(address=_filled(values, "address"), pid=_number(values, "pid"), descends=_yes(values, "descends"))
    )


def _inside(values: dict[str, str], gathered: _Gathered) -> None:
    gathered.inside.append(_answer(values))


def _front_door(values: dict[str, str], gathered: _Gathered) -> None:
    gathered.front_door = _answer(values)


def _unknown_host(values: dict[str, str], gathered: _Gathered) -> None:
    gathered.unknown_host = _answer(values)
    gathered.unknown_host_same = _yes(values, "same") if "same" in values else None


def _addon(values: dict[str, str], gathered: _Gathered) -> None:
    gathered.addons.append(
        AddonProbe(
            name=_filled(values, "name"),
            address=values.get("address", ""),
            answers=_yes(values, "answers"),
            say=values.get("say", ""),
        )
    )


def _network(values: dict[str, str], gathered: _Gathered) -> None:
    gathered.network.append(
        NetworkProbe(host=_filled(values, "host"), ok=_yes(values, "ok"), say=values.get("say", ""))
    )


def _unknown_kind(_values: dict[str, str], _gathered: _Gathered) -> None:
    raise ValueError("no kind of probe line that is known")


def _missing(values: dict[str, str], gathered: _Gathered) -> None:
    gathered.missing[_filled(values, "what")] = values.get("why", "") or "the probe doesn't say why"


_READERS: dict[str, Callable[[dict[str, str], _Gathered], None]] = {
    "process": _process,
    "listener": _listener,
    "inside": _inside,
    "front-door": _front_door,
    "unknown-host": _unknown_host,
    "addon": _addon,
    "network": _network,
    "missing": _missing,
}
