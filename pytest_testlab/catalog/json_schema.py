"""The format of a testlab.toml as JSON Schema (draft 2020-12), for editors; made of what `schema` and `values` say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_testlab.catalog import readers, schema, values
from pytest_testlab.catalog.readers import JsonSchema
from pytest_testlab.catalog.tables import Schema

BEYOND = (
    "what stands on the disk: a script or a static folder that isn't there, links that lead out",
    "that a name is unique in its catalog",
    "that 1.0 is a float and no integer, and that TOML has dates and nan where JSON has none",
    "characters that are invisible without being control characters, and U+0000",
    "durations above 24 hours",
    "a version specifier that PEP 440 doesn't know",
    "that a demo without [run] has at least one step, and neither http nor addons",
    "in json: one path given twice, tables nested too deep, more than 100 values in all",
)
"""What `testlab.toml`'s reader refuses and this schema accepts. It never is the other way round."""

DESCRIPTIONS: Mapping[str, Mapping[str, str]] = {
    "app": {
        "name": "1 to 40 of a-z, 0-9 and -, unique in the catalog.",
        "priority": "P0 is never shed. Default: P1.",
        "tags": "Words to select by, with pytest's -k.",
        "owner": "Who minds when it breaks.",
        "timeout": 'How long each test of the entry may take: "90s", "10m", "1h". Default: 10m.',
        "alone": "Whether its target must be made blank, and proven so, before it and after it. Default: false.",
        "requires": 'Tools that must be on the target, e.g. "python3>=3.11"; without them the tests are skipped.',
        "addons": "Services of its own on the target; with postgresql the app gets DATABASE_URL.",
        "expects-failure": "The entry passes only if it fails with just this class.",
    },
    "build": {"commands": "Run in order by sh -c on the target, in the entry's folder."},
    "run": {
        "command": "What serves, by sh -c; it listens on 127.0.0.1 at $PORT.",
        "static": "A folder of the entry's that the front door serves.",
        "ready": "Up means any answer below 500, through the front door.",
    },
    "ready": {"http": "The path that is asked. Default: /.", "within": "How long that may take. Default: 60s."},
    "check": {
        "name": "What reports call it.",
        "within": "How long it may take. Default: 10s for http, else what is left of timeout.",
        "http": "A path to request through the front door, under the app's own host name.",
        "method": "In capitals. Default: GET.",
        "status": "The status that the answer must have. Default: any.",
        "contains": "Text that the body holds.",
        "json": "Dotted path into the answer's JSON → the value that must stand there.",
        "headers": "Header → text that its value holds.",
        "script": "A program in the entry's folder that is run on the lab's host; exit code 0 is a pass.",
        "command": "A command on the target, in the app's folder and environment.",
        "exit-code": "The exit code that it must have. Default: 0.",
        "stdout": "Text that its standard output holds.",
    },
}
_TITLES = {
    "app": "One app of the catalog: the tests install and check.",
    "demo": "One demo of the catalog: takes the same keys as [app].",
    "build": "What makes the app ready to run.",
    "run": "What serves.",
    "env": 'The app\'s environment: a string, { secret = "name" } or { generate = 24 }.',
    "steps": "What a demo shows, in order, before its checks; each is a timed step of the test check.",
    "checks": "What must hold once the app is up; each is a timed step of the test check.",
}


def entry_schema() -> JsonSchema:
    """The schema of a testlab.toml."""
    made = {**{kind: _table("app", schema.HEADER, needs=schema.NEEDS[kind]) for kind in schema.SUITES}, **_parts()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "testlab.toml",
        "description": "An entry of a catalog: one app or demo, and what must hold of it.",
        "$comment": "Not said here: " + "; ".join(BEYOND),
        "type": "object",
        "properties": {table: {"description": _TITLES[table], **made[table]} for table in schema.TABLES},
        "oneOf": [
            {"required": ["app", "run"], "properties": {"demo": False, "steps": False}},
            {
                "required": ["demo"],
                "properties": {"app": False},
                "anyOf": [{"required": ["run"]}, {"required": ["steps"]}],
            },
        ],
        "additionalProperties": False,
    }


def _parts() -> Mapping[str, JsonSchema]:
    """The tables that apps and demos have in common."""
    ready = _table("ready", schema.READY)
    checks: JsonSchema = {
        "type": "array",
        "maxItems": schema.MOST_CHECKS,
        "items": {"type": "object", "oneOf": [_check(kind) for kind in schema.CHECKS]},
    }
    run = _table("run", schema.RUN, needs=(), inner={"ready": ready})
    return {
        "build": _table("build", schema.BUILD, needs=schema.NEEDS["build"]),
        "run": {**run, "oneOf": [{"required": [way]} for way in schema.WAYS_TO_RUN]},
        "env": readers.said(values.env),
        "steps": checks,
        "checks": checks,
    }


def _check(kind: str) -> JsonSchema:
    made = _table("check", schema.CHECKS[kind], needs=(kind,))
    if kind != "http":
        return made
    return {
        **made,
        "anyOf": [{"required": [key]} for key in schema.CONTENT_KEYS],
        "if": {"required": ["method"], "properties": {"method": {"const": "HEAD"}}},
        "then": {"required": ["headers"]},
    }


def _table(
    name: str, keys: Schema, *, needs: Iterable[str] = (), inner: Mapping[str, JsonSchema] | None = None
) -> JsonSchema:
    says = DESCRIPTIONS[name]
    properties: dict[str, Any] = {
        key: {"description": says[key], **((inner or {}).get(key) or readers.said(convert))}
        for key, (_field, convert) in keys.items()
    }
    if "addons" in properties:  # which there are isn't the value's to know
        properties["addons"] = {**properties["addons"], "items": {"enum": list(schema.ADDONS)}}
    made: JsonSchema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": list(needs)} if needs else made
