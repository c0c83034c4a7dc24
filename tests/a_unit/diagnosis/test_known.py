"""A known value is found whatever became of it on its way into a log."""

from __future__ import annotations

import base64
import json
import random
import re
import string
import textwrap
import time
from collections.abc import Callable

import innocent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_testlab.diagnosis.redact import MARKER, Redactor
from pytest_testlab.diagnosis.shapes import BUILT_IN_SHAPES

VALUE = "Zk39&vTq7/Lm2x\"Rb8w+Hd5cYn41'Pf6s"
TOKEN = "Zk39vTq7Lm2xRb8wHd5cYn41Pf6sGj0aUe7iKo3z"


def fragments(value: str, length: int = 8) -> set[str]:
    return {value[at : at + length] for at in range(len(value) - length + 1)}


def left_of(value: str, out: bytes, length: int = 8) -> set[str]:
    """Pieces of a value that are still there."""
    text = re.sub(r"\s", "", out.replace(MARKER, b"\0").decode(errors="replace"))
    return {piece for piece in fragments(value, length) if piece in text}


@pytest.mark.parametrize(
    "escape",
    [
        lambda c: f"\\u{ord(c):04x}",
        lambda c: f"\\u{ord(c):04X}",
        lambda c: f"\\x{ord(c):02x}",
        lambda c: f"%{ord(c):02x}",
        lambda c: f"&#{ord(c)};",
        lambda c: f"&#x{ord(c):X};",
        lambda c: f"\\\\u{ord(c):04x}",
        lambda c: f"%25{ord(c):02X}",
    ],
    ids=["u", "U", "x", "percent", "html", "html hex", "json in json", "percent twice"],
)
@pytest.mark.parametrize("which", [lambda c: True, lambda c: not c.isalnum(), lambda c: c in "ZTL&\"'"])
def test_any_letters_may_be_escaped(escape: Callable[[str], str], which: Callable[[str], bool]) -> None:
    """Which letters are escaped is the writer's whim; the value is masked, and nothing beside it."""
    shown = "".join(escape(c) if which(c) else c for c in VALUE)
    out, count = Redactor([VALUE], []).redact(f'{{"a": 1, "b": "{shown}", "c": 3}}'.encode())
    assert (out, count) == (b'{"a": 1, "b": "[redacted]", "c": 3}', 1)


def test_a_log_of_nginx() -> None:
    """Which writes a quote in a header or a URL as \\x22."""
    shown = VALUE.replace('"', "\\x22")
    out, _ = Redactor([VALUE], []).redact(f'1.2.3.4 - - "GET /?q={shown} HTTP/1.1" 200 1 "-" "{shown}"'.encode())
    assert out == b'1.2.3.4 - - "GET /?q=[redacted] HTTP/1.1" 200 1 "-" "[redacted]"'


def test_beyond_ascii() -> None:
    """Letters that JSON writes as one or two words of UTF-16."""
    value = "pässwörd-€-𝔘𝔫𝔦"
    shown = json.dumps({"v": value}) + json.dumps(value, ensure_ascii=False) + repr(value.encode())
    assert Redactor([value], []).redact(shown.encode())[0] == b'{"v": "[redacted]"}"[redacted]"b\'[redacted]\''


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 120), st.integers(0, 60), st.sampled_from([64, 76, 80]), st.sampled_from(["\n", "\r\n", "\n    "])
)
def test_base64_of_a_longer_text_wrapped(before: int, after: int, width: int, end: str) -> None:
    """A value within a longer text in base64, at any alignment, wrapped at any place."""
    text = base64.b64encode(b"x" * before + b"user:" + TOKEN.encode() + b"y" * after).decode()
    wrapped = end.join(text[at : at + width] for at in range(0, len(text), width))
    out, _ = Redactor([TOKEN], []).redact(f"-> {wrapped} <-".encode())
    for offset in range(3):
        face = base64.b64encode(b"\0" * offset + TOKEN.encode()).decode()[4:-6]
        assert not left_of(face, out), out


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 100), st.sampled_from(["", "Nov 21 02:31:07 host app[7]: ", "| "]))
def test_a_log_wrapped_at_80(at: int, prefix: str) -> None:
    """Also where each line has a prefix: no eight letters of the value are left together."""
    line = "word " * (at // 5) + "-" * (at % 5) + TOKEN + " and so on, and on, and on"
    wrapped = "\n".join(prefix + line[start : start + 80] for start in range(0, len(line), 80))
    out, count = Redactor([TOKEN], []).redact(wrapped.encode())
    assert count >= 1
    assert not left_of(TOKEN, out.replace(prefix.encode(), b""))


@settings(max_examples=100, deadline=None)
@given(st.integers(4, 39), st.sampled_from(["…", "…'", "", "\n  | [… 204 bytes more]\n"]))
def test_the_beginning_of_a_value_before_a_cut(kept: int, mark: str) -> None:
    """What the lab shortened ends with a mark, or the text ends there: four letters of a value give it away."""
    out, count = Redactor([TOKEN], []).redact(f"it said {TOKEN[:kept]}{mark}".encode())
    assert (out, count) == (f"it said [redacted]{mark}".encode(), 1)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 36), st.sampled_from(["", "failed: …", "before\n[… 204 bytes left out …]\n"]))
def test_the_end_of_a_value_after_a_cut(gone: int, mark: str) -> None:
    """Likewise where its beginning was cut off, at the start of a text or behind a mark."""
    out, count = Redactor([TOKEN], []).redact(f"{mark}{TOKEN[gone:]} and more".encode())
    assert (out, count) == (f"{mark}[redacted] and more".encode(), 1)


def test_a_value_of_several_lines_in_any_dress() -> None:
    """A key, as it is, indented, in JSON, in base64, or put on one line."""
    rng = random.Random(1)
    body = "".join(rng.choices(string.ascii_letters + string.digits, k=420))
    key = "-----BEGIN X-----\n" + "\n".join(textwrap.wrap(body, 64)) + "\n-----END X-----\n"
    code = base64.b64encode(b"key=" + key.encode()).decode()
    dresses = (
        key,
        key.replace("\n", "\r\n"),
        textwrap.indent(key, "    "),
        textwrap.indent(key, "app[7]: "),
        json.dumps({"k": key}),
        json.dumps(json.dumps(key)),
        " ".join(key.split("\n")),
        "\n".join(textwrap.wrap(code, 76)),
        textwrap.indent("\n".join(textwrap.wrap(code, 76)), "app[7]: "),
    )
    redactor = Redactor([key], [])
    for dress in dresses:
        out, _ = redactor.redact(f"before\n{dress}\nafter".encode())
        assert not left_of(body, out, 12), out
        for offset in range(3):
            face = base64.b64encode(b"\0" * offset + body.encode()).decode()[4:-6]
            assert not left_of(face, out, 17), out
        assert out.startswith(b"before\n")
        assert out.endswith(b"after")


def test_words_that_look_alike_stay() -> None:
    """A piece of a value that others have too, or one with blanks between its letters, is no secret."""
    redactor = Redactor(["https://hooks.example.org/services/T0AAAA/B0BBBB/q9Zk3VtYw0aaBBcc", "correcthorse"], [])
    text = b"see https://hooks.example.org/docs, correct horse, and https://hooks.example.org/ too"
    assert redactor.redact(text) == (text, 0)


@pytest.mark.parametrize("value", ["a" * 40, "ab" * 20, TOKEN])
def test_hostile_repetition_can_not_stall_it(value: str) -> None:
    """A text made of pieces of a secret is done in a blink."""
    redactor = Redactor([value], [])
    for piece in (value[:8], value[:20] + "!", value[8:] + "\n", value[:-1] + " ", "\\u0061", "%61", "&#97;"):
        start = time.process_time()
        redactor.redact((piece * (200_000 // len(piece))).encode())
        assert time.process_time() - start < 5


@pytest.mark.parametrize("kind", list(innocent.WRITERS))
def test_innocent_logs_stay_whole(kind: str) -> None:
    """Of 150 KB of each kind of log that holds no secret at most one span is masked, with twenty secrets known."""
    logs = innocent.logs(kind, 150_000)
    assert Redactor(innocent.some_secrets(20), BUILT_IN_SHAPES).redact(logs)[1] <= 1


def test_many_values_cost_no_more_than_few() -> None:
    """The time doesn't grow with the number of values; measured 170 MB/s with twenty and with two hundred."""
    rng = random.Random(2)
    values = ["".join(rng.choices(string.ascii_letters + string.digits, k=24)) for _ in range(200)]
    text = b"127.0.0.1 - - [21/Nov/2026:02:31:07 +0000] GET /api/v1/items/7 HTTP/1.1 200 712\n" * 20_000

    def seconds(count: int) -> float:
        redactor = Redactor(values[:count], [])
        start = time.process_time()
        redactor.redact(text)
        return time.process_time() - start

    assert min(seconds(200) for _ in range(3)) < 5 * min(seconds(2) for _ in range(3))
