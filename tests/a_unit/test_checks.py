"""The small parts that checks are made of."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from pytest_testlab.catalog.http_check import MISSING, check_http, same, value_at
from pytest_testlab.catalog.polling import tries
from pytest_testlab.catalog.transcript import Asker, one_line
from pytest_testlab.errors import CheckFailed, NoAnswer
from pytest_testlab.model import HttpCheck
from pytest_testlab.target.observe import Observations

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


class Clock:
    """Goes on when somebody sleeps."""

    def __init__(self):
        self.now = 7.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("pytest_testlab.catalog.polling.time", clock)
    monkeypatch.setattr("pytest_testlab.catalog.http_check.time", clock)
    return clock


def test_tries_end_with_the_time(clock):
    """There are several tries, each told what is left, and none begins after the time is up."""
    left = list(tries(clock.now + 4.0))
    assert 8 <= len(left) <= 16
    assert left == sorted(left, reverse=True)
    assert left[0] == 4.0
    assert left[-1] > 0
    assert 10.0 < clock.now <= 11.0


class Slow:
    """An app that takes its time for each answer; the last ones never come if it is to hang."""

    def __init__(self, clock, seconds, hangs_after=99):
        self.clock, self.seconds, self.left = clock, seconds, hangs_after

    def request(self, method, path, *, headers=None, body=None, timeout_s):
        self.left -= 1
        takes = self.seconds if self.left >= 0 else 60.0
        self.clock.now += min(takes, timeout_s)
        if takes > timeout_s:
            raise NoAnswer("timeout", "nothing came")
        return SimpleNamespace(status=200, headers={}, body=b"hello", seconds=takes)


@pytest.mark.parametrize(
    ("seconds", "hangs_after", "got", "status"),
    [(0.7, 99, "'hello'", 200), (0.01, 1, "no answer (timeout)", None), (3.0, 99, "no answer (timeout)", None)],
)
def test_a_try_that_the_end_cut_short_hides_no_answer(clock, seconds, hangs_after, got, status):
    """Of a slow app that answers wrong, the answer is told; of one that hangs since, or always, that it does."""
    asker = Asker(Slow(clock, seconds, hangs_after), Observations())
    with pytest.raises(CheckFailed) as failure:
        check_http(asker, 1, HttpCheck(name="page", path="/", within_s=2.0, contains="Nope"), 2.0)
    assert (failure.value.got, failure.value.status) == (got, status)


def test_there_is_always_one_try():
    """Also when the time is up already."""
    assert len(list(tries(time.monotonic() - 1))) == 1


def test_one_line_is_one_line():
    """Line ends and control characters become spaces, and what is too long is cut at its end."""
    assert one_line("a\n\tb\x1b[31m\x00c") == "a b [31m c"
    assert one_line(b"\xff ok") == "\ufffd ok"
    assert one_line("x" * 300, 10) == "x" * 9 + "…"
