"""What must hold of an app: the validations of hop3.toml and test.toml, the health check, and check.py."""

from __future__ import annotations

import http
from pathlib import Path
from urllib.parse import urlsplit

from pytest_testlab.catalog import values
from pytest_testlab.catalog.readers import KeyPath
from pytest_testlab.model import Check, HttpCheck, PlatformCheck
from testlab_hop3.tables import Tables

CHECK_PY = "check.py"
KINDS = ("http", "command", "script")
NOT_OF_APPS = {"demo-script": "a demo", "validoc": "a tutorial"}
WITHIN_S = 30.0
UNPROVEN = (
    "only a status is asked for, and there is no check.py, so that any page would pass;"
    ' add contains = "…" to a [[test.validations]] or to [healthcheck]'
)
NOTHING = 'there is nothing to check; add [healthcheck] with contains = "…", a [[test.validations]], or a check.py'
LEAST, MOST = 100, 599


def of_validations(tables: Tables, at: KeyPath, folder: Path) -> list[Check]:
    """The checks of an array of validations, each told in either of its two shapes."""
    found = []
    for index in range(tables.rows(*at)):
        where = (*at, index)
        kind = tables.text(*where, "type") or "http"
        if kind in NOT_OF_APPS:
            tables.fault((*where, "type"), f"{kind} is for {NOT_OF_APPS[kind]}; allowed: {', '.join(KINDS)}")
        elif kind not in KINDS:
            tables.fault((*where, "type"), f"{kind!r} is unknown; allowed: {', '.join(KINDS)}")
        else:
            found.append({"http": _http, "command": _command, "script": _script}[kind](tables, where, folder))
    return found


def of_health(tables: Tables, path: str) -> HttpCheck:
    """The one check of a recipe that has no validations; `path` is that of its health check."""
    contains = tables.text("healthcheck", "contains")
    return HttpCheck(
        name=f"GET {path}", path=path, status=http.HTTPStatus.OK, contains=contains, follow=True, within_s=WITHIN_S
    )


def of_procfile(folder: Path) -> list[Check]:
    """What is assumed of an app that says nothing of itself."""
    if not (folder / "Procfile").exists():
        return []
    return [HttpCheck(name="GET /", path="/", status=http.HTTPStatus.OK, follow=True, within_s=WITHIN_S)]


def with_check_py(checks: list[Check], folder: Path) -> tuple[Check, ...]:
    """The same with the app's check.py at their end, where it has one and none of them is it."""
    has = any(isinstance(check, PlatformCheck) and check.action == "check" for check in checks)
    return tuple(checks) if has or not (folder / CHECK_PY).is_file() else (*checks, check_py())


def check_py() -> PlatformCheck:
    """The app's own script, which Hop3 runs beside the app, with what it needs to sign in."""
    return PlatformCheck(name=CHECK_PY, action="check")


def unproven(checks: tuple[Check, ...]) -> str:
    """Why they would hold of any app; "" when they don't."""
    if not checks:
        return NOTHING
    bare = all(isinstance(check, HttpCheck) and not (check.contains or check.json) for check in checks)
    return UNPROVEN if bare else ""


def _http(tables: Tables, at: KeyPath, _folder: Path) -> Check:
    path = tables.converted(values.url_path, *at, "path") or _path_of(tables.text(*at, "url")) or "/"
    method = tables.converted(values.method, *at, "method") or "GET"
    statuses = _statuses(tables, at)
    status = tables.number(*_told(tables, at, "status"))
    if status is not None and not LEAST <= status <= MOST:
        tables.fault(_told(tables, at, "status"), f"{status} is no HTTP status ({LEAST} to {MOST})")
    return HttpCheck(
        name=f"{method} {path}",
        path=path,
        method=method,
        status=None if statuses else status or http.HTTPStatus.OK,
        statuses=statuses,
        contains=tables.text(*_told(tables, at, "contains")),
        json=tables.converted(values.json_values, *_told(tables, at, "json")) or {},
        follow=True,
        within_s=_within(tables, at),
    )


def _command(tables: Tables, at: KeyPath, _folder: Path) -> Check:
    run = tables.text(*at, "run", needed=True) or "true"
    expected = {
        "exit_code": tables.number(*_told(tables, at, "exit_code")) or 0,
        "stdout": tables.text(*_told(tables, at, "stdout")),
        "contains": tables.text(*_told(tables, at, "stdout_contains")),
    }
    return PlatformCheck(
        name=_short(run), action="command", values={"run": run, **expected}, within_s=_within(tables, at)
    )


def _script(tables: Tables, at: KeyPath, folder: Path) -> Check:
    path = tables.converted(values.inner_path, *at, "path")
    if path is None:
        if not tables.has(*at, "path"):
            tables.fault(at, "path is missing")
        return check_py()
    if not (folder / path).is_file():
        tables.fault((*at, "path"), f"{str(path)!r} isn't a file of the app's folder")
    if str(path) == CHECK_PY:
        return check_py()
    code = tables.number(*_told(tables, at, "exit_code")) or 0
    return PlatformCheck(
        name=str(path), action="script", values={"path": str(path), "exit_code": code}, within_s=_within(tables, at)
    )


def _told(tables: Tables, at: KeyPath, key: str) -> KeyPath:
    """Where an expectation stands: beside the type, else in `expect`."""
    return (*at, key) if tables.has(*at, key) else (*at, "expect", key)


def _statuses(tables: Tables, at: KeyPath) -> tuple[int, ...]:
    places = (_told(tables, at, key) for key in ("status_in", "status-in"))
    where = next((place for place in places if tables.has(*place)), None)
    if where is None:
        return ()
    found = tables.items(*where)
    for index, status in enumerate(found):
        if type(status) is not int or not LEAST <= status <= MOST:
            tables.fault((*where, index), f"expected an HTTP status ({LEAST} to {MOST}), got {status!r}")
    return tuple(status for status in found if type(status) is int)


def _within(tables: Tables, at: KeyPath) -> float:
    seconds = tables.number(*at, "timeout")
    if seconds is not None and seconds <= 0:
        tables.fault((*at, "timeout"), f"{seconds} is no time to wait; seconds are expected")
    return WITHIN_S if seconds is None else float(seconds)


def _path_of(url: str | None) -> str | None:
    """The host is the app's own, whatever an address says."""
    if url is None:
        return None
    there = urlsplit(url)
    return (there.path or "/") + (f"?{there.query}" if there.query else "")


def _short(command: str) -> str:
    said = " ".join(command.split())
    return said if len(said) <= 80 else said[:79] + "…"
