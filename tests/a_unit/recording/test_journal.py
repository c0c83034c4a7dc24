"""The journal on disk: what was appended is read back, whatever happened to the file's end."""

import os
import resource
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_testlab.errors import UsageError
from pytest_testlab.recording.journal import (
    HEADER,
    Journal,
    JournalError,
    JournalFull,
    count_records,
    is_being_written,
    read_segment,
)

# Nothing is kept between sessions (the checkout may be closed to us), and a busy machine is no failure.
examples = settings(database=None, deadline=None)
EVENTS = [({"kind": "started", "test": "a"}, b""), ({"kind": "finished", "test": "ä\x00"}, b"\x00\xffblob")]


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    journal = Journal(tmp_path, "gw0")
    for event, blob in EVENTS:
        journal.append(event, blob)
    journal.close()
    return journal.path


def read(path: Path, **options: bool) -> list[tuple[dict[str, object], bytes]]:
    return [(event, blob) for event, blob, _ in read_segment(path, **options)]


def test_events_and_blobs_come_back_in_order(segment: Path) -> None:
    """What was appended is what is read."""
    assert read(segment, final=True) == EVENTS


def test_reading_goes_on_from_an_offset(segment: Path) -> None:
    """The offset of a record leads to the one after it."""
    _, _, after_first = next(iter(read_segment(segment)))
    assert [event for event, _, _ in read_segment(segment, after_first)] == [EVENTS[1][0]]


def test_blobs_can_be_left_unread(segment: Path) -> None:
    """Statuses need not wait for bundles to be read."""
    assert read(segment, blobs=False) == [(event, b"") for event, _ in EVENTS]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, list[int]]:
    """A place for a segment, all of its bytes, and where each record ends."""
    journal = Journal(tmp_path_factory.mktemp("run"), "gw0")
    ends = []
    for event, blob in EVENTS:
        journal.append(event, blob, sync=False)
        ends.append(journal.path.stat().st_size)
    journal.close()
    return journal.path, journal.path.read_bytes(), ends


@given(cut=st.integers(min_value=0))
@examples
def test_a_torn_tail_loses_only_the_record_it_tears(whole: tuple[Path, bytes, list[int]], cut: int) -> None:
    """A file cut off anywhere gives every complete record before the cut; once nobody writes, the tear is said."""
    path, data, ends = whole
    kept = data[: cut % (len(data) + 1)]
    path.write_bytes(kept)
    expected = [record for record, end in zip(EVENTS, ends, strict=True) if end <= len(kept)]
    assert read(path) == expected
    if len(kept) in (len(HEADER), *ends):
        assert read(path, final=True) == expected
    else:
        with pytest.raises(JournalError, match=r"it ends in the middle of a record|it was begun, and holds no record"):
            read(path, final=True)


@given(position=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
@examples
def test_a_damaged_byte_never_passes_for_data(whole: tuple[Path, bytes, list[int]], position: int, flip: int) -> None:
    """Whatever byte is damaged, no record is read that was not written."""
    path, data, _ = whole
    damaged = bytearray(data)
    damaged[len(HEADER) + position % (len(data) - len(HEADER))] ^= flip
    path.write_bytes(damaged)
    found = read(path)
    assert found == EVENTS[: len(found)]
    assert len(found) < len(EVENTS)


def test_damage_is_said_aloud_once_nobody_writes_any_more(segment: Path) -> None:
    """A wrong checksum names the file, the byte and what is wrong."""
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    with pytest.raises(JournalError, match=r"gw0\.tlj, byte \d+: a bundle whose checksum is wrong"):
        read(segment, final=True)


def test_a_record_of_impossible_length_is_damage(segment: Path) -> None:
    """A length that no record can have is not waited for."""
    with segment.open("ab") as file:
        file.write(struct.pack("<IIII", 2**31, 0, 0, 0))
    with pytest.raises(JournalError, match="a record of impossible length"):
        read(segment, final=True)


def test_another_version_is_refused_even_while_it_is_written(segment: Path) -> None:
    """A journal of a newer program is never misread."""
    data = bytearray(segment.read_bytes())
    data[6] = 9
    segment.write_bytes(data)
    with pytest.raises(JournalError, match="its format has version 9, and this program reads version 1"):
        read(segment)


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    """A stray file in the folder is named."""
    stray = tmp_path / "stray.tlj"
    stray.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(JournalError, match=r"stray\.tlj, byte 0: this is no journal"):
        read(stray)


@pytest.mark.parametrize(
    ("make", "say"),
    [
        (lambda path: path.symlink_to("/etc/hostname"), "it is a symbolic link"),
        (os.mkfifo, "it is no regular file"),
        (lambda path: path.mkdir(), "it is no regular file"),
    ],
)
def test_what_is_no_file_is_neither_followed_nor_waited_for(
    tmp_path: Path, make: Callable[[Path], None], say: str
) -> None:
    """A link could lead anywhere, and a pipe would never end."""
    odd = tmp_path / "odd.tlj"
    make(odd)
    assert not is_being_written(odd)
    assert count_records(odd) == 0
    with pytest.raises(JournalError, match=say):
        read(odd)


def test_records_are_counted_from_an_offset(segment: Path) -> None:
    """What waits to be read, without reading it; half a record doesn't count."""
    _, _, after_first = next(iter(read_segment(segment)))
    with segment.open("ab") as file:
        file.write(struct.pack("<IIII", 100, 0, 0, 0) + b"half")
    assert (count_records(segment), count_records(segment, after_first)) == (2, 1)


def test_a_full_disk_leaves_no_half_record(tmp_path: Path) -> None:
    """What can't be finished is cut off again, the error says what is full and how much was to come, and it goes on."""
    journal = Journal(tmp_path, "gw0")
    journal.append(*EVENTS[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 1000, hard))
    try:
        with pytest.raises(JournalFull, match=r"ulimit -f.*the next 5,0\d\d bytes of .*gw0\.tlj could not be written"):
            journal.append({"kind": "big"}, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.append(*EVENTS[1])
    journal.close()
    assert read(journal.path, final=True) == EVENTS


def test_only_the_owner_may_read_it(segment: Path) -> None:
    """Bundles may hold what should not be seen by others."""
    assert stat.S_IMODE(segment.stat().st_mode) == 0o600
    assert stat.S_IMODE(segment.parent.stat().st_mode) == 0o700


def test_a_second_writer_of_one_name_gets_a_segment_of_its_own(segment: Path) -> None:
    """Nobody appends to what another left, whose end may be torn."""
    again = Journal(segment.parent.parent, "gw0")
    again.close()
    assert again.path.name == "gw0~2.tlj"


@pytest.mark.parametrize("name", ["", "../gw0", ".hidden", "a/b", "a" * 65])
def test_a_writer_cannot_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    """The writer's name is no path."""
    with pytest.raises(UsageError, match="can't name a journal's segment"):
        Journal(tmp_path, name)


def test_a_segment_shows_whether_its_writer_lives(tmp_path: Path) -> None:
    """Open = alive, closed or gone = not."""
    journal = Journal(tmp_path, "gw0")
    assert is_being_written(journal.path)
    journal.close()
    assert not is_being_written(journal.path)
    assert not is_being_written(tmp_path / "nothing.tlj")
