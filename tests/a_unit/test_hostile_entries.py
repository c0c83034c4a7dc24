"""Files made to wear the reader out, each read in a process of its own: little memory, little time, one line."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1024 * 1024
APP = '[app]\nname = "shop"\n[run]\ncommand = "x"\n'
MOST_MIB = 300
"""Of address space above what an interpreter with the reader in it has."""
READ = """
import resource, sys
from pathlib import Path
from pytest_testlab.catalog.read import read_entry
from pytest_testlab.errors import CatalogError
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]), used + int(sys.argv[2])))
try:
    read_entry(Path(sys.argv[1]))
except CatalogError as error:
    print(error)
"""
HOSTILE = {
    "nested arrays": "x = " + "[" * (MIB - 10),
    "nested tables": "x = " + "{a=" * 300_000,
    "a deep key": "x." * 500_000 + "x = 1",
    "many tables": "".join(f"[a{i}]\n" for i in range(100_000)),
    "many deep tables": f"[[{'.'.join('abcdefghijklmnopqrstuvwxyz')}]]\n" * 17_000,
    "many checks": APP + "[[checks]]\n" * 80_000,
    "a long array": "x = [" + "1," * 500_000 + "]",
    "a wide table": "x = {" + ",".join(f"k{i}=1" for i in range(90_000)) + "}",
    "a long text": APP + f'[[checks]]\nhttp = "/"\ncontains = "{"x" * (MIB - 200)}"\n',
    "quotes": 'x = """' + '\\"' * 500_000,
    "blanks": " " * (MIB - 5),
    "lines": "\n" * (MIB - 5),
    "a long number": "x = " + "1_" * 500_000 + "1",
    "a long name": f'[app]\nname = "{"a" * 1_000_000}"\n',
    "wide JSON": APP + '[[checks]]\nhttp = "/"\njson = {' + "a={" * 15 + ",".join(f"k{i}=1" for i in range(60_000)),
}


def read(file: Path) -> list[str]:
    command = [sys.executable, "-c", READ, str(file), str(MOST_MIB * MIB)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", HOSTILE)
def test_no_file_wears_the_reader_out(tmp_path: Path, name: str) -> None:
    """At most as large as a file may be, and made to cost what it can: told in few lines, within its memory."""
    file = tmp_path / "testlab.toml"
    file.write_text(HOSTILE[name])
    assert file.stat().st_size <= MIB
    said = read(file)
    assert 1 <= len(said) <= 51
    for line in said:
        assert line.startswith(str(file))
        assert len(line) < len(str(file)) + 300
        assert line.isprintable()


def test_a_file_of_100_megabytes_is_not_read(tmp_path: Path) -> None:
    """Its size is told; it would not even fit into the memory that the reader has."""
    file = tmp_path / "testlab.toml"
    file.touch()
    os.truncate(file, 400 * MIB)
    assert read(file) == [f"{file}: is larger than 1024 KiB; keep data in files of its own"]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 * MOST_MIB * 1024


@pytest.mark.parametrize("text", ["\ufeff" + APP, APP.replace("\n", "\r\n"), "\ufeff" + APP.replace("\n", "\r\n")])
def test_files_of_other_systems_are_read(tmp_path: Path, text: str) -> None:
    """A byte order mark and Windows' line ends are no fault."""
    (tmp_path / "testlab.toml").write_bytes(text.encode())
    assert read(tmp_path / "testlab.toml") == []


def test_a_device_is_not_read(tmp_path: Path) -> None:
    """A link to a device that never ends is told apart from a file."""
    (tmp_path / "testlab.toml").symlink_to("/dev/zero")
    assert read(tmp_path / "testlab.toml") == [f"{tmp_path}/testlab.toml: is not a regular file"]
