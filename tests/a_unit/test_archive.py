"""What of an entry's folder is uploaded, and what is refused before the first byte is sent."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from pytest_testlab.errors import UsageError
from pytest_testlab.target.archive import MOST_BYTES, pack


def packed(folder: Path) -> dict[str, tarfile.TarInfo]:
    """What arrives: name → member."""
    sent = io.BytesIO()
    pack(folder, lambda chunk: sent.write(chunk) and None)
    with tarfile.open(fileobj=io.BytesIO(sent.getvalue())) as archive:
        return {member.name: member for member in archive}


def test_what_is_no_file_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe and a socket are neither uploaded nor waited for; links inside stay links; odd names arrive."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        (tmp_path / "real").write_text("x")
        (tmp_path / "link").symlink_to("real")
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / os.fsdecode(b"caf\xe9\n")).write_text("x")
        found = packed(tmp_path)
    assert sorted(found) == sorted(["real", "link", "loop", os.fsdecode(b"caf\xe9\n")])
    assert found["link"].linkname == "real"


@pytest.mark.parametrize("leads_to", ["/etc/passwd", "../outside", "sub/../../outside"])
def test_nothing_outside_is_uploaded(tmp_path: Path, leads_to: str) -> None:
    """A link that leads out is refused by name, wherever in the folder it is."""
    (tmp_path / "outside").write_text("secret")
    folder = tmp_path / "entry"
    (folder / "sub").mkdir(parents=True)
    (folder / "out").symlink_to(leads_to)
    with pytest.raises(UsageError, match="the link leads out of the folder"):
        packed(folder)


def test_a_huge_file_is_refused_at_once(tmp_path: Path) -> None:
    """A file with holes takes no place here, and all of its size on the target: nothing of it is sent."""
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", MOST_BYTES + 1)
    sent: list[bytes] = []
    with pytest.raises(UsageError, match=r"holds more than 2048 MiB, too much to upload; see .*/sparse$"):
        pack(tmp_path, sent.append)
    assert sent == []


def test_too_many_files_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with size: nothing is sent of what would be cut off."""
    monkeypatch.setattr("pytest_testlab.target.archive.MOST_MEMBERS", 5)
    for number in range(6):
        (tmp_path / str(number)).touch()
    sent: list[bytes] = []
    with pytest.raises(UsageError, match="holds more than 5 files, too many to upload"):
        pack(tmp_path, sent.append)
    assert sent == []


@pytest.mark.parametrize("becomes", ["pipe", "link"])
def test_a_file_that_is_swapped_meanwhile_is_not_followed(tmp_path: Path, becomes: str) -> None:
    """What was a file when it was looked at, and is a pipe or a link when it is read, is refused and not waited for."""
    folder = tmp_path / "entry"
    folder.mkdir()
    (tmp_path / "outside").write_text("secret")
    (folder / "a").write_bytes(os.urandom(600_000))  # enough to be sent before the next one is opened
    victim = folder / "b"
    victim.write_text("x")
    sent = bytearray()

    def swap(chunk: bytes) -> None:
        sent.extend(chunk)
        if victim.is_file() and not victim.is_symlink():
            victim.unlink()
            os.mkfifo(victim) if becomes == "pipe" else victim.symlink_to(tmp_path / "outside")

    def looked_at_first() -> None:
        pack(folder, swap)

    if becomes == "pipe":
        looked_at_first()
    else:
        with pytest.raises(UsageError, match="the link leads out"):
            looked_at_first()
    assert b"secret" not in sent
