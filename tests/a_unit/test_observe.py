"""What the lab takes down of an attempt, and the bounds of it."""

from __future__ import annotations

import pytest

from pytest_testlab.target.commands import Tail
from pytest_testlab.target.observe import HEAD, MAX_SECTIONS, TAIL, Observations


def test_phases_of_one_name_add_up() -> None:
    """Also those that end by an exception are timed."""
    seen = Observations()
    with seen.phase("build"):
        pass
    first = seen.phases["build"]
    with pytest.raises(KeyError), seen.phase("build"):
        raise KeyError
    assert seen.phases["build"] > first
    assert list(seen.phases) == ["build"]


def test_transcripts_become_sections_in_order() -> None:
    """Each with its content whole, while it is short."""
    seen = Observations()
    seen.write("http", "GET /\n")
    seen.write("build", b"\xff raw\n")
    seen.write("http", "200\n")
    assert [(section.name, section.content) for section in seen.sections()] == [
        ("http", b"GET /\n200\n"),
        ("build", b"\xff raw\n"),
    ]


def test_a_long_transcript_keeps_its_two_ends() -> None:
    """How it began and how it ended, with the gap marked by its size."""
    seen = Observations()
    seen.write("build", b"BEGIN" + b"." * HEAD)
    for _ in range(200):
        seen.write("build", b"-" * 1000)
    seen.write("build", b"END")
    (section,) = seen.sections()
    content = section.content or b""
    dropped = 5 + HEAD + 200_000 + 3 - HEAD - TAIL
    assert content.startswith(b"BEGIN...")
    assert content.endswith(b"--END")
    assert f"[… {dropped} bytes left out …]".encode() in content
    assert len(content) <= section.tail_bytes


def test_transcripts_are_bounded_in_number() -> None:
    """A platform that names a section after each line is told so."""
    seen = Observations()
    for number in range(MAX_SECTIONS):
        seen.write(f"s{number}", "x")
    seen.write("s0", "more")
    with pytest.raises(ValueError, match="'one' is one too many"):
        seen.write("one", "x")


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_a_tail_keeps_just_the_last_bytes(chunk: int) -> None:
    """However they arrive."""
    data = bytes(range(256)) * 2
    tail = Tail(50)
    for start in range(0, len(data), chunk):
        tail.add(data[start : start + chunk])
    assert bytes(tail) == data[-50:]
    assert tail.size == len(data)
