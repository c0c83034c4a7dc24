"""Reads the tables of a TOML file against a schema, strictly, and takes down every fault on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_testlab.catalog import readers
from pytest_testlab.catalog.readers import Convert, KeyPath, Refused

MOST_FAULTS = 50
Schema = Mapping[str, tuple[str, Convert[Any]]]
"""Key of the file → (field of the model, reader)."""


class TableReader:
    """What the readers of all formats share."""

    def __init__(self) -> None:
        self.faults: list[tuple[KeyPath, str]] = []

    def _part(self, document: dict[str, Any], key: str, schema: Schema, needs: tuple[str, ...] = ()) -> dict[str, Any]:
        given = self._value((key,), readers.table, document[key])
        if given is None:
            return {}
        for need in needs:
            if need not in given:
                self._fault((key,), f"{need} is missing")
        return self._table((key,), given, schema)

    def _table(self, at: KeyPath, given: dict[str, Any], schema: Schema, of: str = "") -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for key, value in given.items():
            known = schema.get(key)
            if known is None:
                self._fault((*at, key), self._unknown(key, schema, of))
                if len(self.faults) > MOST_FAULTS:
                    break
                continue
            try:
                fields[known[0]] = known[1](value)
            except Refused as refused:
                self._refused((*at, key), refused)
        return fields

    def _value(self, at: KeyPath, convert: Convert[readers.T], value: Any) -> readers.T | None:
        try:
            return convert(value)
        except Refused as refused:
            self._refused(at, refused)
            return None

    def _unknown(self, key: str, schema: Schema, _of: str) -> str:
        """Why a key is refused; `of` is what the table describes, in words."""
        return readers.unknown(key, schema)

    def _refused(self, at: KeyPath, refused: Refused) -> None:
        for inner, why in refused.faults:
            self._fault((*at, *inner), why)

    def _fault(self, at: KeyPath, why: str) -> None:
        self.faults.append((at, why))
