"""Names to the small numbers that stand for them; missing ones are added."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from pytest_testlab.store.headlines import digest, fingerprint

LARGEST_CACHE = 50_000

_TABLES = ("test", "suite", "rule")
_FIND = {table: sa.text(f"SELECT name, id FROM {table} WHERE name = ANY(CAST(:names AS text[]))") for table in _TABLES}  # noqa: S608  names of our own tables
_ADD = {
    table: sa.text(
        f"INSERT INTO {table} (name) SELECT unnest(CAST(:names AS text[])) ON CONFLICT DO NOTHING RETURNING name, id"
    )
    for table in _TABLES
}
_FIND_HEADLINES = sa.text("SELECT digest, id FROM headline WHERE digest = ANY(CAST(:digests AS bytea[]))")
_ADD_HEADLINES = sa.text("""
    INSERT INTO headline (digest, fingerprint, text)
    SELECT * FROM unnest(CAST(:digests AS bytea[]), CAST(:fingerprints AS bytea[]), CAST(:texts AS text[]))
    ON CONFLICT DO NOTHING RETURNING digest, id
""")


class Names:
    """Looks numbers up, and remembers them for as long as the transactions they came from succeed."""

    def __init__(self) -> None:
        self._known: dict[str, dict[Any, int]] = {}

    def forget(self) -> None:
        """Call after a rollback: what was added in it is gone."""
        self._known.clear()

    def ids(self, connection: sa.Connection, table: str, names: Iterable[str]) -> Mapping[str, int]:
        """The number of each name of `table` (test, suite or rule)."""
        known = self._cache(table)
        missing = sorted({name for name in names if name not in known})
        if missing:
            # Found first, because an insert that conflicts burns a number all the same.
            _gather(connection, known, _FIND[table], names=missing)
            new = [name for name in missing if name not in known]
            if new:
                _gather(connection, known, _ADD[table], names=new)
                _gather(connection, known, _FIND[table], names=[name for name in new if name not in known])
        return known

    def headlines(self, connection: sa.Connection, texts: Collection[str]) -> Mapping[str, int]:
        """The number of each headline."""
        known = self._cache("headline")
        missing = {digest(text): text for text in sorted(texts) if text not in known}
        if missing:
            found: dict[Any, int] = {}
            _gather(connection, found, _FIND_HEADLINES, digests=list(missing))
            new = {key: text for key, text in missing.items() if key not in found}
            if new:
                prints = [fingerprint(text) for text in new.values()]
                _gather(
                    connection, found, _ADD_HEADLINES, digests=list(new), fingerprints=prints, texts=list(new.values())
                )
                _gather(connection, found, _FIND_HEADLINES, digests=[key for key in new if key not in found])
            known.update({text: found[key] for key, text in missing.items()})
        return known

    def _cache(self, table: str) -> dict[Any, int]:
        known = self._known.setdefault(table, {})
        if len(known) > LARGEST_CACHE:
            known.clear()
        return known


def _gather(connection: sa.Connection, into: dict[Any, int], statement: sa.TextClause, **values: list[Any]) -> None:
    if all(values.values()):
        into.update({row[0]: row[1] for row in connection.execute(statement, values)})
