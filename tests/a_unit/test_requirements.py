"""Reading the versions of tools, and judging them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytest_testlab.capabilities.requirements import judge, parse, script, version_of
from pytest_testlab.model import Requirement


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("Python 3.11.2", "3.11.2"),
        ("Python 3.14.0rc2", "3.14.0rc2"),
        ("v18.19.0", "18.19.0"),
        ("9.2.0", "9.2.0"),
        ("git version 2.39.5", "2.39.5"),
        ("g++ (Debian 12.2.0-14) 12.2.0\nCopyright (C) 2022 Free Software Foundation", "12.2.0"),
        ("psql (PostgreSQL) 15.10 (Debian 15.10-0+deb12u1)", "15.10"),
        ("curl 7.88.1 (x86_64-pc-linux-gnu) libcurl/7.88.1", "7.88.1"),
        ("openjdk 21 2023-09-19\nOpenJDK Runtime Environment (build 21+35)", "21"),
        ("systemd 252 (252.22-1~deb12u1)", "252.22"),
        ("go version go1.21.3 linux/amd64", "1.21.3"),
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "7.0.15"),
        ("ruby 3.1.2p20 (2022-04-12 revision 4491bb740a) [x86_64-linux-gnu]", "3.1.2"),
        ("tool v5", "5"),
        ("warning: no version yet\ntool 1.2", "1.2"),
        ("usage: tool [-h]", None),
        ("x86_64", None),
        ("", None),
    ],
)
def test_the_version_is_read(said: str, version: str | None) -> None:
    """The number is found in what real tools say."""
    assert version_of(said) == version


@pytest.mark.parametrize(
    ("need", "answer", "reason"),
    [
        (("python3", ">=3.11"), ("Python 3.11.2", "0"), None),
        (("python3", ">=3.11"), ("Python 3.14.0rc2", "0"), None),
        (("git", ""), ("", "0"), None),
        (("git", ""), ("unknown option", "1"), None),
        (
            ("python3", ">=3.11"),
            ("Python 3.9.2", "0"),
            "python3 3.9.2 does not meet >=3.11; install python3>=3.11 on the target",
        ),
        (
            ("node", ">=20"),
            ("", "absent"),
            "node is not on the target; install it there (Debian: apt install nodejs)",
        ),
        (("zig", ""), ("", "absent"), "zig is not on the target; install it there"),
        (
            ("python3", ">=3.12"),
            ("shim: python3: not found; it exists in 3.12.1", "127"),
            "python3 --version failed on the target with exit code 127, so python3>=3.12 is not certain",
        ),
        (
            ("tool", ">=1"),
            ("usage: tool", "0"),
            "tool --version names no version on the target, so tool>=1 is not certain",
        ),
    ],
)
def test_each_requirement_is_judged(need: tuple[str, str], answer: tuple[str, str], reason: str | None) -> None:
    """A reason says what is there, what is asked for, and what to do."""
    assert judge(Requirement(tool=need[0], specifier=need[1]), answer) == reason


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_script_tells_tools_apart(tmp_path: Path, shell: str) -> None:
    """One script asks for several tools; noise, silence, failure and absence don't confuse the answers."""
    tools = {
        "plain": "echo plain 1.2",
        "unended": "printf 'v18.1'",
        "loud": "head -c 200000 /dev/zero | tr '\\0' x; echo; echo loud 3.4",
        "failing": "echo oops >&2; exit 3",
        "silent": ":",
        "asking": 'read answer; echo "asking 5.6 $answer"',
    }
    for name, body in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    needs = [Requirement(tool=name) for name in (*tools, "nowhere")]
    done = subprocess.run(
        [shell, "-c", script(needs, "mark-1")],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        input="unread\n",
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    answers = parse(done.stdout, "mark-1")
    assert [code for _, code in answers] == ["0", "0", "0", "3", "0", "0", "absent"]
    assert [said.splitlines()[-1] if said else "" for said, _ in answers] == [
        "plain 1.2",
        "v18.1",
        "loud 3.4",
        "oops",
        "",
        "asking 5.6",
        "",
    ]
    assert len(done.stdout) < 10_000
