"""Log text becomes safe HTML, whatever is in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from testlab_server.ansi import plain, render_lines, split_lines, text_of

_TAG = re.compile(r"<(/?)([^> ]*)([^>]*)>")


def rendered(text: str) -> str:
    return "\n".join(render_lines(text))


def test_markup_is_escaped() -> None:
    """Nothing in a log becomes an element, not even inside a colour."""
    assert rendered("\x1b[31m<script>&\"'") == '<span class="fg-red">&lt;script&gt;&amp;&#34;&#39;</span>'


@pytest.mark.parametrize(
    ("codes", "classes"),
    [
        ("31", "fg-red"),
        ("1;32", "fg-green sgr-bold"),
        ("93;44", "fg-bright-yellow bg-blue"),
        ("38;5;9", "fg-bright-red"),
        ("38;5;196", "fg-red"),
        ("48;2;0;0;0", "bg-black"),
        ("38;5;244", "fg-bright-black"),
        ("4;3;9;7;2", "sgr-dim sgr-inverse sgr-italic sgr-strike sgr-underline"),
    ],
)
def test_colours_become_classes(codes: str, classes: str) -> None:
    """SGR codes become classes, those of larger palettes the nearest of the sixteen."""
    assert rendered(f"\x1b[{codes}mx\x1b[0my") == f'<span class="{classes}">x</span>y'


@pytest.mark.parametrize("off", ["0", "", "39", "22;39"])
def test_colours_end(off: str) -> None:
    """A reset, a bare `m` and the code for the default end a colour."""
    assert rendered(f"\x1b[31mx\x1b[{off}my") == '<span class="fg-red">x</span>y'


def test_colours_go_on_over_lines_and_over_the_cut() -> None:
    """A colour holds until it is ended, also when the line that set it isn't among the last."""
    assert render_lines("\x1b[31ma\nb\nc", last=1) == ['<span class="fg-red">c</span>']


@pytest.mark.parametrize(
    "sequence", ["\x1b[2J", "\x1b[?25l", "\x1b[10;3H", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x1bc", "\x1b(B"]
)
def test_other_sequences_are_dropped(sequence: str) -> None:
    """What would move the cursor, set a title or make a link leaves no trace."""
    assert rendered(f"a{sequence}b") == "ab"


def test_an_unfinished_sequence_hides_no_further_line() -> None:
    """A log can't swallow what comes after by leaving a sequence open."""
    assert render_lines("a\x1b]0;never ended\nb") == ["a", "b"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x00", "⟨U+0000⟩"),
        ("\x08", "⟨U+0008⟩"),
        ("\x7f", "⟨U+007F⟩"),
        ("\x9b31m", "⟨U+009B⟩31m"),
        ("\u202e", "⟨U+202E⟩"),
    ],
)
def test_unsafe_characters_are_shown_as_numbers(raw: str, shown: str) -> None:
    """Control characters, and those that reorder text, are visible and do nothing."""
    assert rendered(raw) == plain(raw) == shown


def test_a_carriage_return_overwrites_nothing() -> None:
    """What a terminal would have overwritten stays readable."""
    assert split_lines("secret\rharmless\r\nnext\n") == ["secret", "harmless", "next"]


def test_invalid_utf8_is_replaced() -> None:
    """Bytes that aren't text never end a page."""
    assert text_of(b"a\xff\xfeb") == "a\ufffd\ufffdb"


@given(st.text(alphabet=st.sampled_from("a<>&\"'\x1b[]0;1m38:45\x07\n\r\\\x00\u202e"), max_size=120))
def test_only_own_spans_come_out(text: str) -> None:
    """Whatever goes in, the only tags that come out are our spans, opened and closed on their line."""
    for line in render_lines(text):
        depth = 0
        for closing, name, attributes in _TAG.findall(line):
            assert name == "span"
            assert closing or re.fullmatch(r' class="[a-z -]+"', attributes)
            depth += -1 if closing else 1
            assert depth in (0, 1)
        assert depth == 0
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", line)


@given(st.text())
def test_no_line_is_lost(text: str) -> None:
    """As many lines come out as went in, and `last` keeps the end of them."""
    lines = render_lines(text)
    assert len(lines) == len(split_lines(text))
    assert render_lines(text, last=2) == lines[-2:]
