"""The small parts that checks are made of."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from pytest_testlab.catalog.http_check import MISSING, same, value_at
from pytest_testlab.catalog.polling import tries
from pytest_testlab.catalog.transcript import one_line

DOCUMENT = {"a": {"b": [10, {"c": None}]}, "0": "zero"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b.0", 10),
        ("a.b.1.c", None),
        ("0", "zero"),
        ("a.b.2", MISSING),
        ("a.b.-1", MISSING),
        ("a.b.0.c", MISSING),
        ("a.x", MISSING),
    ],
)
def test_dotted_paths(path, value):
    """A dotted path leads through objects by name and lists by place; null is something, and nothing is `MISSING`."""
    assert value_at(DOCUMENT, path) is value or value_at(DOCUMENT, path) == value


@pytest.mark.parametrize(
    ("found", "wanted", "equal"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (0, False, False),
        (None, None, True),
        (MISSING, None, False),
        ([1, {"a": True}], [1, {"a": True}], True),
        ([1, {"a": 1}], [1, {"a": True}], False),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ([1, 2], [1], False),
        ("1", 1, False),
    ],
)
def test_equality_is_that_of_json(found, wanted, equal):
    """Numbers are equal by value, true and false are no numbers, and nested values are compared alike."""
    assert same(found, wanted) is equal


def test_tries_end_with_the_time(monkeypatch):
    """There are several tries, each told what is left, and none begins after the time is up."""
    now = 7.0

    def sleep(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr("pytest_testlab.catalog.polling.time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    left = list(tries(now + 4.0))
    assert 8 <= len(left) <= 16
    assert left == sorted(left, reverse=True)
    assert left[0] == 4.0
    assert left[-1] > 0
    assert 10.0 < now <= 11.0


def test_there_is_always_one_try():
    """Also when the time is up already."""
    assert len(list(tries(time.monotonic() - 1))) == 1


def test_one_line_is_one_line():
    """Line ends and control characters become spaces, and what is too long is cut at its end."""
    assert one_line("a\n\tb\x1b[31m\x00c") == "a b [31m c"
    assert one_line(b"\xff ok") == "\ufffd ok"
    assert one_line("x" * 300, 10) == "x" * 9 + "…"
