"""The format of a lab.toml as JSON Schema (draft 2020-12), for editors; made of what `format` and `words` say."""

from __future__ import annotations

from typing import Any

from pytest_testlab.catalog import readers
from pytest_testlab.catalog.readers import JsonSchema
from pytest_testlab.catalog.tables import Schema
from pytest_testlab.labfile import format as form
from pytest_testlab.labfile import words

BEYOND = (
    "what a cron expression's five fields may hold, and which time zones there are",
    "what stands on the disk: a catalog that isn't there",
    "what a setting takes beyond its type, as its flag would say",
    "that [schedule.nightly] can't stand beside [schedule] itself",
    "characters that are invisible without being control characters, and U+0000",
    "durations above 24 hours",
    "that 1.0 is a float and no integer",
)
"""What lab.toml's reader refuses and this schema accepts. It never is the other way round."""


def lab_schema() -> JsonSchema:
    """The schema of a lab.toml."""
    described = {form.key_of(option): option.help for option in form.PLAYED}
    told = {**{key: meaning for key, (_, _, meaning) in words.OWN.items()}, **described}
    schedule = _table(form.SCHEDULE, told)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lab.toml",
        "description": "What a lab plays by itself, when, and where its server listens.",
        "$comment": "Not said here: " + "; ".join(BEYOND),
        "type": "object",
        "properties": {
            "schedule": {
                **schedule,
                "description": f"What is played when: the schedule {form.FIRST}; others are tables below it.",
                "minProperties": 1,
                "patternProperties": {_named(): {**schedule, "required": list(form.NEEDED)}},
                "if": {"anyOf": [{"required": [key]} for key in form.SCHEDULE]},
                "then": {"required": list(form.NEEDED)},
            },
            "server": {
                **_table(form.SERVER, {key: meaning for key, (_, _, meaning) in words.SERVER.items()}),
                "description": "What testlab serve takes by its flags, which win.",
            },
        },
        "additionalProperties": False,
    }


def _named() -> str:
    """What the table of another schedule may be called: as no key of a schedule's own is."""
    return f"^(?!(?:{'|'.join(form.SCHEDULE)})$){form.NAME.removeprefix('^')}"


def _table(keys: Schema, told: dict[str, str]) -> JsonSchema:
    properties: dict[str, Any] = {
        key: {"description": told[key], **readers.said(convert)} for key, (_field, convert) in keys.items()
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}
