"""Checks answers against the API's own description, where that lies beside the checkout."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema.validators
from openapi_schema_validator import OAS30ReadValidator, oas30_format_checker

FILE = Path(__file__).parents[4] / "shared" / "hetzner" / "openapi.json"
"""It isn't ours to pass on."""


MOST_KNOWN = 50_000


class Shapes:
    """One validator for each kind of answer, made once."""

    def __init__(self, file: Path = FILE) -> None:
        self._document: dict[str, Any] = json.loads(file.read_text())
        self._validators: dict[tuple[str, str, str], Any] = {}
        self._known: set[tuple[str, str]] = set()
        """Parts that were found right, by the name of their shape and their content."""
        extend: Any = jsonschema.validators.extend
        self._make = extend(OAS30ReadValidator, {"$ref": self._part})

    def mismatch(self, method: str, template: str, status: int, body: object) -> str | None:
        """What is wrong with an answer, in a line; None = nothing, or the description doesn't have that path."""
        operation = self._document["paths"].get(template, {}).get(method.lower())
        if operation is None:
            return None
        answers = operation["responses"]
        key = str(status) if str(status) in answers else f"{status // 100}XX"
        if key not in answers:
            return f"{method} {template}: no {status} is described"
        content = answers[key].get("content")
        if content is None:
            return None if body is None else f"{method} {template}: {status} has no body"
        error = next(self._validator(method, template, key).iter_errors(body), None)
        return None if error is None else f"{method} {template} {status}: {error.json_path}: {error.message[:300]}"

    def _validator(self, method: str, template: str, key: str) -> Any:
        found = self._validators.get((method, template, key))
        if found is None:
            answer = self._document["paths"][template][method.lower()]["responses"][key]
            schema = {
                **answer["content"]["application/json"]["schema"],
                "components": self._document["components"],
            }
            found = self._make(schema, format_checker=oas30_format_checker)
            self._validators[method, template, key] = found
        return found

    def _part(self, validator: Any, ref: str, instance: object, schema: dict[str, Any]) -> Iterator[Any]:
        """As the library has it, but once for each content: a list of servers says the same again and again."""
        key = ref, json.dumps(instance)
        if key in self._known:
            return
        errors = list(OAS30ReadValidator.VALIDATORS["$ref"](validator, ref, instance, schema))
        yield from errors
        if not errors:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known.add(key)


@functools.cache
def shapes() -> Shapes | None:
    """Those of this machine; None where the description isn't there."""
    return Shapes() if FILE.is_file() else None
