"""Lines of keys in a TOML text."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from pytest_testlab.catalog.locate import key_lines, nearest_line
from pytest_testlab.catalog.readers import KeyPath

TEXT = '''\
# a comment with = and [brackets]
top = 1
dotted.key."with a dot.".x = "a # no comment"   # a comment

[app]  # another
name = """
[not.a.table]
key = "no key" \\""" still no end
"""
'single quoted' = \'\'\'
it's "''here''"\'\'\'
"esc\\u0041ped \\"x\\"" = 1
list = [ # comment ]
  1, [2,
  3], "],",
  { a = 1, "b" = [
    { c = "}" }, 5 ] },
]
date = 1979-05-27T07:32:00Z

[[checks]]
http = "/"
[checks.json]
"a.b" = 1

[[checks]]
http = "/2"
[[checks.deep]]
x = 1
[[checks.deep]]
x = 2
[a . "b c" . d]
e = """""two quotes""\"""
f = 1
'''
LINES: list[tuple[KeyPath, int]] = [
    (("top",), 2),
    (("dotted",), 3),
    (("dotted", "key", "with a dot.", "x"), 3),
    (("app",), 5),
    (("app", "name"), 6),
    (("app", "single quoted"), 10),
    (("app", 'escAped "x"'), 12),
    (("app", "list"), 13),
    (("app", "list", 0), 14),
    (("app", "list", 1, 0), 14),
    (("app", "list", 1, 1), 15),
    (("app", "list", 2), 15),
    (("app", "list", 3, "a"), 16),
    (("app", "list", 3, "b", 0, "c"), 17),
    (("app", "list", 3, "b", 1), 17),
    (("app", "date"), 19),
    (("checks",), 21),
    (("checks", 0), 21),
    (("checks", 0, "http"), 22),
    (("checks", 0, "json"), 23),
    (("checks", 0, "json", "a.b"), 24),
    (("checks", 1), 26),
    (("checks", 1, "http"), 27),
    (("checks", 1, "deep", 0, "x"), 29),
    (("checks", 1, "deep", 1), 30),
    (("checks", 1, "deep", 1, "x"), 31),
    (("a", "b c", "d"), 32),
    (("a", "b c", "d", "e"), 33),
    (("a", "b c", "d", "f"), 34),
]


def paths(value: Any, at: KeyPath = ()) -> set[KeyPath]:
    """Every key and item of a parsed document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ({at} if at else set()).union(*(paths(inner, (*at, key)) for key, inner in pairs))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("path", "line"), LINES, ids=[str(path) for path, _ in LINES])
def test_every_kind_of_key_is_found(path: KeyPath, line: int, end: str) -> None:
    """Dotted, quoted, inline, in arrays, below arrays of tables, after strings of several lines."""
    assert key_lines(TEXT.replace("\n", end))[path] == line


def test_nothing_else_is_found() -> None:
    """The keys found are just those that the parser of the standard library sees."""
    assert set(key_lines(TEXT)) == paths(tomllib.loads(TEXT))


def test_an_absent_key_is_put_at_its_table() -> None:
    """What is missing is told where it belongs."""
    lines = key_lines(TEXT)
    assert nearest_line(lines, ("checks", 1, "name")) == 26
    assert nearest_line(lines, ("nowhere", "x")) == 1


def test_a_text_that_is_no_toml_loses_only_lines() -> None:
    """A text that the scanner can't follow doesn't crash it."""
    assert key_lines('[app]\nname = "x"\n[[[ = \n\x00')[("app", "name")] == 2
