"""Whatever the bytes of a testlab.toml: an entry, or what is wrong with them, and never a crash."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from full_entry import FULL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_testlab.catalog import schema
from pytest_testlab.catalog.read import parse_entry
from pytest_testlab.errors import CatalogError

_schemas = (schema.HEADER, schema.BUILD, schema.RUN, schema.READY, *schema.CHECKS.values())
_known = sorted({*schema.TABLES, *(key for keys in _schemas for key in keys)})
_keys = st.sampled_from([*_known, "secret", "generate", "a b", ""])
_values = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-5, 600),
        st.floats(),
        st.sampled_from(["shop", "10m", "/", "site", "..", "P1", "", "python3>=3", "checks/event.py"]),
        st.text(max_size=8).filter(lambda text: text.isprintable()),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_keys, inner, max_size=5)),
    max_leaves=25,
)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return _quoted(value) if isinstance(value, str) else str(value).lower()


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _never_crashes(file: Path, data: bytes) -> None:
    error: CatalogError | None = None
    try:
        parse_entry(file, data)
    except CatalogError as caught:
        error = caught
    if error is not None:
        assert error.problems
        assert len(str(error).splitlines()) == len(error.problems)


_fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_fuzz
@given(st.binary(max_size=200))
def test_random_bytes_never_crash(tmp_path: Path, data: bytes) -> None:
    """Whatever a file holds, the answer is an entry or its problems."""
    _never_crashes(tmp_path / "testlab.toml", data)


@_fuzz
@given(st.dictionaries(_keys, _values, max_size=6))
def test_random_tables_never_crash(tmp_path: Path, document: dict[str, Any]) -> None:
    """Whatever well-formed TOML holds, the answer is an entry or its problems, each on one line."""
    text = "".join(f"{_quoted(key)} = {_toml(value)}\n" for key, value in document.items())
    tomllib.loads(text)
    _never_crashes(tmp_path / "testlab.toml", text.encode())


@_fuzz
@given(st.lists(st.sampled_from(FULL.splitlines()), max_size=40), st.integers(0, 200), st.characters())
def test_broken_copies_never_crash(tmp_path: Path, lines: list[str], cut: int, char: str) -> None:
    """A well-formed file with its lines shuffled and one character changed is an entry or its problems."""
    text = "\n".join(lines)
    _never_crashes(tmp_path / "testlab.toml", (text[:cut] + char + text[cut + 1 :]).encode(errors="replace"))
