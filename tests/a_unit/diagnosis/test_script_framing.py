"""What a fragment prints can't pass for the collector's own words."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from pytest_testlab.diagnosis.script import compose, decode
from pytest_testlab.model import Section

BOUNDARY = "testlab-0123456789abcdef"


def frame(index: int, text: bytes, absent: bytes = b"", error: bytes = b"", size: str | None = None) -> bytes:
    header = f"{BOUNDARY} {index} {size or len(text)} 0 {len(text)} {len(absent)} {len(error)}\n"
    return header.encode() + text + absent + error


END = f"{BOUNDARY} end\n".encode()


def test_frames_are_read_by_their_lengths() -> None:
    """Frames come in any order, hold any bytes, and the end is known as the end."""
    frames, why = decode(frame(1, b"one\n", size="900") + frame(0, b"", b"gone\n", b"oops\n") + END, BOUNDARY, 2)
    assert why == ""
    assert (frames[1].text, frames[1].size) == (b"one\n", 900)
    assert (frames[0].absent, frames[0].error) == (b"gone\n", b"oops\n")


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_output_that_knows_the_boundary_forges_nothing(junk: bytes, more: bytes) -> None:
    """Even text that holds whole frames with the right boundary stays the text of its own section."""
    forged = junk + frame(1, b"forged") + END + more
    frames, why = decode(frame(0, forged) + frame(1, b"true") + END, BOUNDARY, 2)
    assert (frames[0].text, frames[1].text, why) == (forged, b"true", "")


@given(st.integers(0, 200))
def test_a_broken_off_output_keeps_what_is_whole(cut: int) -> None:
    """Frames that came through whole are kept, and it is said that there were more."""
    output = frame(0, b"a" * 40) + frame(1, b"b" * 40) + END
    frames, why = decode(output[: min(cut, len(output) - 1)], BOUNDARY, 2)
    assert all(frames[index].text == (b"a", b"b")[index] * 40 for index in frames)
    assert why == "the output of the collection broke off"


@given(st.binary(max_size=300))
def test_any_bytes_can_be_decoded(output: bytes) -> None:
    """Whatever comes, decoding ends without an error."""
    frames, why = decode(output, BOUNDARY, 2)
    assert frames == {}
    assert why


def test_a_fragment_stands_in_the_script_as_it_was_written() -> None:
    """Quotes, dollars and backslashes of a fragment are not the composing shell's to read."""
    fragment = "echo \"$HOME\" '`id`' \\\\n; cat <<'X'\n$y\nX"
    script = compose([Section(name="a", source="a", script=fragment)], BOUNDARY, 5)
    quoted = script.partition("\nprintf %s ")[2].partition(' >"$d/0.sh"\n')[0]
    (said,) = shlex.split(quoted)
    assert said.endswith(f"\n{fragment}\n")
