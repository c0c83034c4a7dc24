"""Following a test: which one is meant, and text that leaves by whole lines and masked."""

from __future__ import annotations

import pytest

from pytest_testlab.catalog.follow import KEY_BYTES, LONG_LINE, Lines, followed
from pytest_testlab.diagnosis.redact import Redactor

KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\nBBBB\n-----END OPENSSH PRIVATE KEY-----\n"
TESTS = [
    {"test": f"apps/{entry}/testlab.toml::{stage}", "entry": entry, "stage": stage}
    for entry in ("radicale", "kinto", "kinto-2")
    for stage in ("install", "check")
]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("apps/kinto/testlab.toml::check", ["apps/kinto/testlab.toml::check"]),
        ("kinto::check", ["apps/kinto/testlab.toml::check"]),
        ("kinto", ["apps/kinto/testlab.toml::check", "apps/kinto/testlab.toml::install"]),
        ("radic", ["apps/radicale/testlab.toml::check", "apps/radicale/testlab.toml::install"]),
        ("kinto-2/testlab.toml::inst", ["apps/kinto-2/testlab.toml::install"]),
    ],
)
def test_which_is_meant(text: str, meant: list[str]) -> None:
    """A test, `entry::stage`, an entry, or a part that only one entry has."""
    assert followed(text, TESTS) == (frozenset(meant), "")


def test_what_nobody_is_called() -> None:
    """One line, with the nearest; several entries are named."""
    assert followed("radikale", TESTS)[1].startswith(
        "--testlab-follow: no test of this run is called 'radikale'; did you mean radicale"
    )
    assert followed("kint", TESTS)[1] == "--testlab-follow: 'kint' fits several entries: kinto, kinto-2"
    assert followed(None, TESTS) == (frozenset(), "")


def shown(chunks: list[bytes], redactor: Redactor) -> str:
    """What is shown of text that comes in pieces, each taken as soon as it is there."""
    lines, told = Lines(), []
    for chunk in chunks:
        lines.add(chunk)
        told += lines.take(lambda data: redactor.redact(data)[0])
    return "\n".join(told + lines.take(lambda data: redactor.redact(data)[0], last=True))


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_secret_in_pieces_is_never_shown(size: int) -> None:
    """However its text is cut: a value, a value of several lines, and a key that nobody knows of."""
    several = "first-secret-line\nshort\nlast-secret-line"
    redactor = Redactor({"hunter2hunter2", several}, ()).by_line()
    text = b"before hunter2hunter2 after\n" + several.encode() + b"\nkept\nthe end hunter2hunter2"
    told = shown([text[at : at + size] for at in range(0, len(text), size)], redactor)
    for part in ("hunter2", "secret-line", "short"):
        assert part not in told
    assert told.splitlines()[0] == "before [redacted] after"
    assert told.splitlines()[-2:] == ["kept", "the end [redacted]"]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_key_is_held_until_it_is_whole(size: int) -> None:
    """What masks it sees it from its first line to its last, or it isn't shown at all."""
    seen: list[bytes] = []

    def mask(data: bytes) -> bytes:
        seen.append(data)
        return data.replace(KEY, b"[redacted]\n")

    lines, told, text = Lines(), [], b"one\n" + KEY + b"two\n" + KEY[:50]
    for at in range(0, len(text), size):
        lines.add(text[at : at + size])
        told += lines.take(mask)
    told += lines.take(mask, last=True)
    assert told == ["one", "[redacted]", "two", "[redacted: a key without an end]"]
    endless = Lines()
    endless.add(KEY[:50] + b"\n" + b"A\n" * KEY_BYTES)
    assert endless.take(mask) == ["[redacted: a key without an end]"]


def test_a_line_without_an_end() -> None:
    """It can't be masked before it is whole, so it is left out; what follows it is shown."""
    lines = Lines()
    for _ in range(10):
        lines.add(b"x" * LONG_LINE)
    lines.add(b"rest of it\nnext\n")
    assert lines.take(bytes) == ["[a line of more than 16 KiB is left out]", "next"]
