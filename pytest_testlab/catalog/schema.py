"""The format of a testlab.toml, table by table: which keys there are, and how each is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_testlab.catalog import readers, values
from pytest_testlab.catalog.readers import KeyPath, Refused
from pytest_testlab.catalog.tables import MOST_FAULTS, Schema, TableReader
from pytest_testlab.model import Check, CommandCheck, Entry, HttpCheck, Ready, ScriptCheck, Suite

ADDONS = ("postgresql",)
"""The addons that an entry can ask for."""
MOST_CHECKS = 100

HEADER: Schema = {
    "name": ("name", values.entry_name),
    "priority": ("priority", values.priority),
    "tags": ("tags", readers.many(values.tag, 20, unique=True)),
    "owner": ("owner", readers.line),
    "timeout": ("timeout_s", values.duration),
    "alone": ("alone", readers.boolean),
    "requires": ("requires", readers.many(values.requirement, 20)),
    "addons": ("addons", readers.many(values.tag, 10, unique=True)),
    "expects-failure": ("expects_failure", values.failure_class),
}
BUILD: Schema = {"commands": ("build", readers.many(readers.text, 100, least=1))}
READY: Schema = {"http": ("http", values.url_path), "within": ("within_s", values.duration)}
RUN: Schema = {
    "command": ("command", readers.text),
    "static": ("static", values.inner_path),
    "ready": ("ready", readers.table),
}
_ANY_CHECK: Schema = {"name": ("name", readers.line), "within": ("within_s", values.duration)}
CHECKS: Mapping[str, Schema] = {
    "http": {
        **_ANY_CHECK,
        "http": ("path", values.url_path),
        "method": ("method", values.method),
        "status": ("status", values.status),
        "contains": ("contains", readers.text),
        "json": ("json", values.json_values),
        "headers": ("headers", values.headers),
    },
    "script": {**_ANY_CHECK, "script": ("script", values.inner_path)},
    "command": {
        **_ANY_CHECK,
        "command": ("command", readers.text),
        "exit-code": ("exit_code", values.exit_code),
        "stdout": ("stdout", readers.text),
    },
}
"""Kind of check, which is also the key that makes it one → its keys."""
SUITES = {"app": Suite.APPS, "demo": Suite.DEMOS}
TABLES = (*SUITES, "build", "run", "env", "steps", "checks")
NEEDS: Mapping[str, tuple[str, ...]] = {**dict.fromkeys(SUITES, ("name",)), "build": ("commands",)}
"""Table → the keys that it can't be without."""
WAYS_TO_RUN = ("command", "static")
"""Of these [run] has exactly one."""
CONTENT_KEYS = ("contains", "json", "headers")
BARE_STATUS = (
    "asserts nothing about the answer's content, and a bare status also passes when something else answers;"
    ' add contains = "…", json = { … } or headers = { … }'
)


class EntryReader(TableReader):
    """Reads the tables of one testlab.toml."""

    def __init__(self, file: Path, addons: Collection[str] = ADDONS) -> None:
        super().__init__()
        self._file = file
        self._folder = os.fspath(file.parent)
        self._addons = addons

    def read(self, document: dict[str, Any]) -> Entry | None:
        """The entry; None when there are `faults`."""
        for key in [key for key in document if key not in TABLES][: MOST_FAULTS + 1]:
            self._fault((key,), readers.unknown(key, TABLES))
        fields = self._header(document)
        fields |= self._part(document, "build", BUILD, needs=NEEDS["build"]) if "build" in document else {}
        bare = fields.get("suite") is Suite.DEMOS and "run" not in document and "steps" in document
        fields |= {} if bare else self._run(document, built=bool(fields.get("build")))
        if "env" in document:
            fields["env"] = self._value(("env",), values.env, document["env"]) or {}
        for key in ("steps", "checks"):
            if key in document:
                fields[key] = self._checks(key, document[key])
        if "steps" in document and fields.get("suite") is Suite.APPS:
            self._fault(("steps",), "belongs to a [demo]; what must hold of an [app] are its [[checks]]")
        if bare:
            self._without_app(document, fields)
        return None if self.faults else Entry(file=self._file, **fields)

    # --- tables -------------------------------------------------------------------------------------------------------

    def _header(self, document: dict[str, Any]) -> dict[str, Any]:
        kinds = [kind for kind in SUITES if kind in document]
        if len(kinds) != 1:
            said = "both [app] and [demo] are given" if kinds else "no [app] or [demo] is given"
            self._fault(("demo",) if kinds else (), f"{said}; a file holds exactly one of them")
            return {}
        kind = kinds[0]
        fields = self._part(document, kind, HEADER, needs=NEEDS[kind])
        for index, addon in enumerate(fields.get("addons", ())):
            if addon not in self._addons:
                known = ", ".join(self._addons)
                self._fault((kind, "addons", index), f"{readers.shown(addon)} is unknown; allowed: {known}")
        return {**fields, "suite": SUITES[kind]}

    def _run(self, document: dict[str, Any], *, built: bool) -> dict[str, Any]:
        if "run" not in document:
            self._fault((), 'no [run] is given; add [run] with command = "…" or static = "…"')
            return {}
        fields = self._part(document, "run", RUN)
        given = document["run"] if type(document["run"]) is dict else {"command": None}
        if len(ways := [way for way in WAYS_TO_RUN if way in given]) != 1:
            said = "both command and static are given" if ways else "neither command nor static is given"
            self._fault(("run",), f"{said}; exactly one of them is needed")
        if "ready" in fields:
            fields["ready"] = Ready(**self._table(("run", "ready"), fields["ready"], READY))
        if "static" in fields:
            self._on_disk(("run", "static"), fields["static"], os.path.isdir, "folder", may_be_built=built)
        return fields

    def _without_app(self, document: dict[str, Any], fields: dict[str, Any]) -> None:
        """A demo that is nothing but steps has nothing to ask through a front door, and no addons."""
        why = "needs an app, and no [run] is given"
        for key in ("steps", "checks"):
            for index, check in enumerate(fields.get(key, ())):
                if isinstance(check, HttpCheck):
                    self._fault((key, index, "http"), why)
        if fields.get("addons"):
            self._fault(("demo", "addons"), why)
        if not fields.get("steps") and not self.faults:
            self._fault(("steps",), "must hold at least one step, as no [run] is given")

    def _checks(self, key: str, given: Any) -> tuple[Check, ...]:
        one = key[:-1]
        if type(given) is dict:
            say = f"expected an array of tables, got a table; write [[{key}]], one for each {one}"
            self._fault((key,), say)
            return ()
        try:
            checks = _check_tables(given)
        except Refused as refused:
            self._refused((key,), refused)
            return ()
        found = (self._check((key, index), raw, one) for index, raw in enumerate(checks))
        return tuple(check for check in found if check is not None)

    def _check(self, at: KeyPath, raw: dict[str, Any], one: str) -> Check | None:
        kinds = [kind for kind in CHECKS if kind in raw]
        if len(kinds) != 1:
            said = f"{' and '.join(kinds)} are given" if kinds else "it has none of http, script and command"
            self._fault(at, f"{said}; a {one} has exactly one of http, script and command")
            return None
        before = len(self.faults)
        kind = kinds[0]
        fields = self._table(at, raw, CHECKS[kind], of=f"a {one} with {kind}")
        fields.setdefault("name", _default_name(kind, fields))
        check = _MAKERS[kind](self, at, raw, fields)
        return check if len(self.faults) == before else None

    def _http(self, at: KeyPath, raw: dict[str, Any], fields: dict[str, Any]) -> HttpCheck | None:
        if not any(key in raw for key in CONTENT_KEYS):
            self._fault(at, BARE_STATUS)
        elif fields.get("method") == "HEAD" and "headers" not in raw:
            self._fault((*at, "method"), "an answer to HEAD has no body; assert on headers = { … }")
        return None if "path" not in fields else HttpCheck(**fields)

    def _script(self, at: KeyPath, _raw: dict[str, Any], fields: dict[str, Any]) -> ScriptCheck | None:
        if "script" not in fields:
            return None
        self._on_disk((*at, "script"), fields["script"], os.path.isfile, "file")
        return ScriptCheck(**fields)

    def _command(self, _at: KeyPath, _raw: dict[str, Any], fields: dict[str, Any]) -> CommandCheck | None:
        return None if "command" not in fields else CommandCheck(**fields)

    def _on_disk(
        self,
        at: KeyPath,
        path: PurePosixPath,
        is_kind: Callable[[str], bool],
        kind: str,
        *,
        may_be_built: bool = False,
    ) -> None:
        """Take down a fault unless the path is what it has to be, and stays inside the entry's folder."""
        full = f"{self._folder}/{path}"
        where = readers.shown(str(path))
        if not os.path.lexists(full):
            if not may_be_built:
                self._fault(at, f"{where} doesn't exist in the entry's folder")
        elif _leads_out(self._folder, path):
            self._fault(at, f"{where} is, or goes through, a symbolic link that leads out of the entry's folder")
        elif not is_kind(full):
            self._fault(at, f"{where} is not a {kind}")

    def _unknown(self, key: str, schema: Schema, of: str) -> str:
        return _misplaced(key, schema, of) or super()._unknown(key, schema, of)


_check_tables = readers.many(readers.table, MOST_CHECKS)
_MAKERS: Mapping[str, Callable[[EntryReader, KeyPath, dict[str, Any], dict[str, Any]], Check | None]] = {
    "http": EntryReader._http,
    "script": EntryReader._script,
    "command": EntryReader._command,
}


def _misplaced(key: str, schema: Schema, of: str) -> str | None:
    """Why a key that another kind of check has is refused."""
    owners = [kind for kind, keys in CHECKS.items() if key in keys]
    if not of or not owners:
        return None
    return f"belongs to a check with {owners[0]}; {of} allows: {', '.join(sorted(schema))}"


def _default_name(kind: str, fields: dict[str, Any]) -> str:
    """What a check is called when its author didn't say."""
    if kind == "http":
        return f"{fields.get('method', 'GET')} {fields.get('path', '/')}"
    said = " ".join(str(fields.get(kind, kind)).split())
    return said if len(said) <= 80 else said[:79] + "…"


def _leads_out(folder: str, path: PurePosixPath) -> bool:
    """Whether a symbolic link takes the path out of the folder; only paths with links pay for resolving."""
    here = folder
    for part in path.parts:
        here = f"{here}/{part}"
        if os.path.islink(here):  # noqa: PTH114 - a Path for each part would cost more than the whole check
            inside, outside = os.path.realpath(folder), os.path.realpath(f"{folder}/{path}")
            return not f"{outside}/".startswith(f"{inside.rstrip('/')}/")
    return False
