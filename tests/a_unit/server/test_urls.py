"""A test's id survives its way through an address, whatever is in it."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from testlab_server.urls import TestIdConverter
from werkzeug.routing import Map, Rule

MAP = Map(
    [
        Rule("/runs/<run>/tests/<test:test>", endpoint="show"),
        Rule("/runs/<run>/tests/<test:test>/<int:attempt>", endpoint="show"),
        Rule("/runs/<run>/tests/<test:test>/<int:attempt>/<section>", endpoint="show"),
        Rule("/runs/<run>/tests/<test:test>/<int:attempt>/<section>.txt", endpoint="download"),
    ],
    converters={"test": TestIdConverter},
)
ODD = [
    "examples/catalog/apps/radicale/testlab.toml::install",
    "a.py::T::test[x]",
    "a.py::test[a/b]",
    "a.py::test[a/1/build]",
    "a.py::test[x::y]/z",
    "a.py::test[50%]",
    "a.py::test[%2F]",
    "a.py::test[../..]",
    "a b/ü.py::test[é ?#&+]",
    "a.py::test[[]",
    "a.py::test]",
    "docs/start.md::step 1/2",
    "a::b/c.py::test",
]


def there_and_back(test: str, **more: object) -> tuple[str, dict[str, object]]:
    adapter = MAP.bind("lab.test")
    address = adapter.build("show", {"run": "r", "test": test, **more})
    path = urlsplit(address).path
    assert path == address.partition("?")[0] == address, "nothing of the id may become a query or a fragment"
    endpoint, values = adapter.match(unquote(path))
    return endpoint, dict(values)


@pytest.mark.parametrize("test", ODD)
def test_odd_ids_come_back(test: str) -> None:
    """Slashes, brackets, colons, percent signs: the id that comes back is the one that left."""
    assert there_and_back(test) == ("show", {"run": "r", "test": test})
    assert there_and_back(test, attempt=2) == ("show", {"run": "r", "test": test, "attempt": 2})
    whole = {"run": "r", "test": test, "attempt": 2, "section": "proxy-probe"}
    assert there_and_back(test, attempt=2, section="proxy-probe") == ("show", whole)


@given(st.from_regex(r"\A[a-z/]{1,8}\.py::[a-z%\[\]/: 0-9]{1,16}\Z").filter(lambda test: "//" not in test[:10]))
def test_any_id_comes_back(test: str) -> None:
    """The same for ids that nobody thought of."""
    file = test.partition("::")[0].strip("/")
    test = f"{file}::{test.partition('::')[2]}"
    assert there_and_back(test, attempt=1, section="app")[1]["test"] == test


def test_an_address_reads_as_the_id_does() -> None:
    """The usual id stands in the address as it is."""
    address = MAP.bind("lab.test").build("show", {"run": "r", "test": ODD[0]})
    assert address == f"/runs/r/tests/{ODD[0]}"


def test_a_raw_slash_in_brackets_is_understood() -> None:
    """An address that a person typed, with the slash of a parameter as it is, leads to the test."""
    values = MAP.bind("lab.test").match("/runs/r/tests/a.py::test[a/b]/1/app")[1]
    assert values == {"run": "r", "test": "a.py::test[a/b]", "attempt": 1, "section": "app"}
