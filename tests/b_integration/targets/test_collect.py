"""The collection of a bundle on real shells, and over the line to a real target."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest
from testlab_local.provider import LocalProvider

from pytest_testlab.diagnosis.collect import LOST, RawSection, collect
from pytest_testlab.diagnosis.probe import parse_probe
from pytest_testlab.diagnosis.sections import built_in_sections, journald, network_probe, resources
from pytest_testlab.errors import InfraError
from pytest_testlab.model import CommandResult, Section, Server

SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
TOOLS = ("cat", "mkfifo", "wc", "dd", "tail", "head", "rm", "sleep", "kill", "mktemp", "setsid", "yes", "sh", "env")


class ShellTarget:
    """A target that is a real shell of this machine, and counts its round trips."""

    def __init__(self, shell: str, path: str | None = None) -> None:
        self.server = Server(name=shell, provider="shell")
        self._command = [shutil.which(shell) or shell, *(["sh"] if shell == "busybox" else [])]
        self._env = {"PATH": path or os.environ["PATH"], "HOME": "/nonexistent"}
        self.trips = 0

    def run(
        self, script: str, *, timeout_s: float, cwd: str | None = None, env: Mapping[str, str] | None = None
    ) -> CommandResult:
        self.trips += 1
        shell = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd, env=self._env
        )
        code: int | None
        try:
            out, error = shell.communicate(script.encode(), timeout_s)
            code = shell.returncode
        except subprocess.TimeoutExpired:
            shell.kill()
            out, error = shell.communicate()
            code = None
        return CommandResult(exit_code=code, stdout=out, stderr=error, seconds=0)

    def upload(self, folder: Path, destination: str, *, timeout_s: float = 120.0) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class LostTarget(ShellTarget):
    """A target whose line is gone."""

    def run(
        self, script: str, *, timeout_s: float, cwd: str | None = None, env: Mapping[str, str] | None = None
    ) -> CommandResult:
        raise InfraError("connection reset by peer")


def fragment(name: str, script: str, tail_bytes: int = 1_000, timeout_s: int = 5) -> Section:
    return Section(name=name, source=name, script=script, tail_bytes=tail_bytes, timeout_s=timeout_s)


@pytest.fixture(params=[*SHELLS, "dash without timeout"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> ShellTarget:
    """Each shell that this machine has; and one without `timeout`, which has to do without."""
    if request.param != "dash without timeout":
        return ShellTarget(request.param)
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(shutil.which(tool) or f"/missing/{tool}")
    return ShellTarget("dash", str(tmp_path))


def by_name(sections: list[RawSection]) -> dict[str, RawSection]:
    return {section.name: section for section in sections}


def leftovers(mark: str) -> list[Path]:
    """Folders of collections whose fragments hold the mark: others may be at work on this machine."""
    found = []
    for base in ("/dev/shm", "/tmp"):
        for path in Path(base).glob("testlab-collect.*/*.sh"):
            with contextlib.suppress(OSError):  # another's, or gone by now
                found += [path.parent] if mark in path.read_text(errors="replace") else []
    return found


def test_every_kind_of_section_in_one_round_trip(target: ShellTarget, tmp_path: Path) -> None:
    """Text, reasons, failures and the lab's own records come back in order, from a single run, leaving nothing."""
    mark = secrets.token_hex(8)
    sections = [
        fragment("plain", f"printf 'hello\\n'  # {mark}"),
        fragment("why", 'absent "it\'s not $HOME \\"here\\""'),
        fragment("failed", "echo oops >&2; exit 3"),
        fragment("broken", "if (("),
        fragment("empty", ":"),
        fragment("bytes", "printf '\\000\\377\\n\\n'"),
        fragment("no newline", "printf x"),
        Section(name="lab", source="the lab", content=b"a" * 50 + b"b" * 10, tail_bytes=10),
        Section(name="known", source="the lab", absent="a static site has no process"),
        fragment("deaf", "cat"),
    ]
    found = collect(target, sections, deadline_s=20)
    assert target.trips == 1
    assert [section.name for section in found] == [section.name for section in sections]
    got = by_name(found)
    assert got["plain"].text == b"hello\n"
    assert got["why"].absent == 'it\'s not /nonexistent "here"'
    assert got["failed"].absent == "it ended with exit code 3: oops"
    assert (got["broken"].absent or "").startswith("it ended with exit code 2: ")
    assert (got["empty"].text, got["empty"].size, got["empty"].absent) == (b"", 0, None)
    assert got["bytes"].text == b"\0\xff\n\n"
    assert got["no newline"].text == b"x"
    assert (got["lab"].text, got["lab"].size) == (b"b" * 10, 60)
    assert got["known"].absent == "a static site has no process"
    assert got["deaf"].text == b""
    assert not leftovers(mark)


def test_a_huge_log_an_endless_one_and_a_dead_pipe(target: ShellTarget, tmp_path: Path) -> None:
    """Any size streams through in bounded memory and disk, is counted whole, and its end is kept; none holds others."""
    big, pipe = tmp_path / "big.log", tmp_path / "pipe"
    with big.open("wb") as file:
        file.truncate(200_000_000)
        file.seek(0, os.SEEK_END)
        file.write(b"the end\n")
    os.mkfifo(pipe)
    sections = [
        fragment("big", f"cat {big}", tail_bytes=64, timeout_s=20),
        fragment("endless", "yes", tail_bytes=10, timeout_s=1),
        fragment("pipe", f"cat {pipe}", timeout_s=1),
        fragment("daemon", "setsid sleep 8 & echo started", timeout_s=1),
        fragment("quick", "echo quick"),
    ]
    started = time.monotonic()
    got = by_name(collect(target, sections, deadline_s=30))
    assert time.monotonic() - started < 20
    assert (got["big"].size, len(got["big"].text)) == (200_000_008, 64)
    assert got["big"].text.endswith(b"\0the end\n")
    assert got["endless"].text.startswith(b"y\ny\ny\ny\ny\n")
    assert got["endless"].text.endswith(b"[testlab: cut off here, it did not end within 1 s]\n")
    assert got["endless"].size > 10_000
    assert got["pipe"].absent == "it printed nothing within 1 s"
    assert got["daemon"].text == b"started\n"
    assert got["quick"].text == b"quick\n"
    assert not [process for process in psutil.process_iter(["cmdline"]) if str(pipe) in (process.info["cmdline"] or ())]


def test_the_ends_of_logs(target: ShellTarget, tmp_path: Path) -> None:
    """Logs come with what was rotated away before them, by bytes, counted whole; each that can't be had says why."""
    for name, text in {
        "plain": b"one\ntwo\n",
        "bytes": b"\0\377\n\n",
        "it's -n odd": b"odd",
        "long": b"a" * 5_000_000 + b"the end",
        "rotated.1": b"x" * 90 + b"1",
        "rotated": b"2" * 9,
        "both.1": b"before ",
        "both": b"after",
        "empty": b"",
        "secret": b"!",
    }.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    def log(name: str, tail_bytes: int = 1_000) -> Section:
        files = (str(tmp_path / f"{name}.1"), str(tmp_path / name))
        return Section(name=name, source=name, files=files, files_absent=f"no {name}: “$HOME”", tail_bytes=tail_bytes)

    names = ["plain", "bytes", "it's -n odd", "both", "empty", "link", "folder", "pipe", "never"]
    sections = [fragment("other", "echo other"), *map(log, names), log("long", 10), log("rotated", 10)]
    found = collect(target, sections, deadline_s=20)
    assert target.trips == 1
    assert [section.name for section in found] == [section.name for section in sections]
    got = by_name(found)
    assert got["other"].text == b"other\n"
    assert got["plain"].text == b"one\ntwo\n"
    assert got["bytes"].text == b"\0\xff\n\n"
    assert got["it's -n odd"].text == b"odd"
    assert (got["both"].text, got["both"].size) == (b"before after", 12)
    assert (got["long"].text, got["long"].size) == (b"aaathe end", 5_000_007)
    assert (got["rotated"].text, got["rotated"].size) == (b"1" + b"2" * 9, 100)
    for name in ("empty", "link", "folder", "pipe", "never"):
        assert got[name].absent == f"no {name}: “$HOME”"
    assert not any(got[name].truncated for name in ("plain", "both"))


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "busybox"])  # it may have a `tail` of its own
def test_a_log_that_hangs_holds_up_nobody(shell: str, tmp_path: Path) -> None:
    """A log that can't be read to its end is cut off by its time; the other logs and sections are there, no process."""
    for name in ("held", "good"):
        (tmp_path / name).write_text(f"{name}\n")
    tail = tmp_path / "tail"
    tail.write_text(f'#!/bin/sh\ncase "$*" in */held) exec sleep 61.5 ;; esac\nexec {shutil.which("tail")} "$@"\n')
    tail.chmod(0o755)
    sections = [
        *(Section(name=name, source=name, files=(str(tmp_path / name),), timeout_s=1) for name in ("held", "good")),
        fragment("quick", "echo quick"),
    ]
    started = time.monotonic()
    got = by_name(collect(ShellTarget(shell, f"{tmp_path}:{os.environ['PATH']}"), sections, deadline_s=50))
    assert time.monotonic() - started < 40
    assert got["held"].absent == "it printed nothing within 1 s"
    assert got["good"].text == b"good\n"
    assert got["quick"].text == b"quick\n"
    assert not [process for process in psutil.process_iter(["cmdline"]) if "61.5" in (process.info["cmdline"] or ())]


def test_hostile_output_can_not_speak_for_others(target: ShellTarget) -> None:
    """A log that holds what the collector prints, as far as anyone can know it, stays text of its own section."""
    forged = "testlab-00000000000000000000000000000000 1 4 0 4 0 0\nfake"
    sections = [
        fragment("evil", f"printf '%s\\n' '{forged}'; cat \"$0\"; echo x >&1; echo >&5", tail_bytes=100_000),
        fragment("good", "echo true"),
    ]
    got = by_name(collect(target, sections, deadline_s=20))
    assert got["evil"].text.startswith(forged.encode())
    assert got["good"].text == b"true\n"


def test_the_deadline_brings_what_there_is(target: ShellTarget) -> None:
    """At the deadline the finished sections are there, and the others say why not."""
    sections = [fragment("slow", "trap '' TERM; sleep 60; sleep 60", timeout_s=200), fragment("quick", "echo quick")]
    started = time.monotonic()
    got = by_name(collect(target, sections, deadline_s=4))
    assert time.monotonic() - started < 30
    assert got["quick"].text == b"quick\n"
    assert got["slow"].absent == "it did not end in time"


@pytest.mark.parametrize("timeout_s", [2, 3, 60])
def test_the_collections_deadline_is_named_by_whichever_clock_ends_it(target: ShellTarget, timeout_s: int) -> None:
    """A section that was given as long as the collection has one reason, or one note below what it printed."""
    sections = [
        fragment("silent", "exec sleep 60", timeout_s=timeout_s),
        fragment("stubborn", "trap '' TERM; sleep 60; sleep 60", timeout_s=timeout_s),
        fragment("begun", "echo begun; exec sleep 60", timeout_s=timeout_s),
        fragment("brief", "exec sleep 60", timeout_s=1),
    ]
    got = by_name(collect(target, sections, deadline_s=4))
    assert got["silent"].absent == "it did not end in time"
    assert got["stubborn"].absent == "it did not end in time"
    if got["begun"].absent is None:
        assert got["begun"].text == b"begun\n\n[testlab: cut off here, it did not end in time]\n"
    else:
        assert got["begun"].absent == "it did not end in time"
    assert got["brief"].absent in ("it printed nothing within 1 s", "it did not end in time")


def test_sections_are_had_at_once(target: ShellTarget) -> None:
    """The slowest fragment bounds the collection, not their sum."""
    started = time.monotonic()
    found = collect(target, [fragment(str(n), "sleep 2; echo done") for n in range(8)], deadline_s=30)
    assert [section.text for section in found] == [b"done\n"] * 8
    assert time.monotonic() - started < 14


def test_a_lost_line_and_no_time_are_reasons() -> None:
    """Collecting never raises: what can't be had is absent; the lab's own records are kept."""
    own = Section(name="http", source="the lab", content=b"GET /\n")
    lost, http = collect(LostTarget("dash"), [fragment("app", "echo"), own], deadline_s=5)
    assert lost.absent == f"{LOST}: connection reset by peer"
    assert http.text == b"GET /\n"
    (late,) = collect(ShellTarget("dash"), [fragment("app", "echo")], deadline_s=0)
    assert late.absent == "not collected: no time was left"
    idle = ShellTarget("dash")
    assert collect(idle, [own], deadline_s=5)[0].text == b"GET /\n"
    assert idle.trips == 0


def test_the_built_in_sections_tell_of_this_machine() -> None:
    """Resources and dns have what they promise; journald is there or says why it isn't."""
    got = by_name(collect(ShellTarget("dash"), [resources("/tmp", shared=True), journald(shared=True)], deadline_s=20))
    assert b"$ df -Pk" in got["resources"].text
    assert b"% /" in got["resources"].text
    assert b"Mem" in got["resources"].text
    assert b"PID" in got["resources"].text
    assert got["journald"].absent is None or len(got["journald"].absent) > 10


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "busybox"])  # it may have a `ps` of its own
def test_the_largest_processes_are_cut_with_a_mark(shell: str, shared: bool, tmp_path: Path) -> None:
    """At most 16 processes, largest first, as `ps` tells of them; a long command line isn't cut silently."""
    with holding(400_000_000, tmp_path) as first, holding(200_000_000, tmp_path) as second:
        (found,) = collect(ShellTarget(shell), [resources("/tmp", shared=shared)], deadline_s=20)
    heading, *lines = found.text.decode().partition("$ processes by memory\n")[2].splitlines()
    assert heading.split() == ["PID", "PPID", "USER", "RSS", "%CPU", "ELAPSED", "COMMAND"]
    assert 1 < len(lines) <= 16
    # Only of processes that neither grow nor shrink: `ps` measures them again.
    larger, smaller = (line for line in lines if line.split()[0] in {str(first.pid), str(second.pid)})
    assert larger.split()[0] == str(first.pid)
    for mine in (larger, smaller):
        assert mine.endswith("yyy…")
        assert len(mine) == 200


@contextlib.contextmanager
def holding(size: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds so many bytes, and has a long command line."""
    hold = f"import sys; held = bytearray(b'x') * {size}; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, "y" * 300], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.communicate()


@pytest.mark.parametrize("shared", [True, False])
def test_a_machine_without_ps_tells_of_its_processes_too(tmp_path: Path, shared: bool) -> None:
    """Minimal systems have no procps: the kernel's own files say who holds the memory, largest first."""
    for tool in ("df", "awk", "id", "cut", "sort", "grep", *TOOLS):
        (tmp_path / tool).symlink_to(shutil.which(tool) or f"/missing/{tool}")
    (found,) = collect(ShellTarget("dash", str(tmp_path)), [resources("/tmp", shared=shared)], deadline_s=20)
    heading, *lines = found.text.decode().partition("$ processes by memory\n")[2].splitlines()
    rows = [line.split(maxsplit=4) for line in lines]
    assert heading == "PID PPID UID RSS_kB NAME"
    assert rows == sorted(rows, key=lambda row: -int(row[3]))
    assert 1 < len(rows) <= 16
    assert all(row[0].isdecimal() and row[4] for row in rows)
    assert not shared or {row[2] for row in rows} == {str(os.geteuid())}


def test_over_the_line_to_a_local_target(provider: LocalProvider, server: Server) -> None:
    """Every built-in section comes over a real SSH line in one round trip; none is lost."""
    line = provider.connect(server)
    try:
        found = collect(line, built_in_sections(server, None), deadline_s=20)
    finally:
        line.close()
    assert [section.name for section in found] == ["journald", "resources", "dns"]
    got = by_name(found)
    assert b"$ df -Pk" in got["resources"].text
    assert b"resolv.conf" in got["dns"].text


def test_the_network_probe_prints_probe_lines() -> None:
    """A name that no one has and an address where no one listens are facts, in lines that the parser takes."""
    (section,) = collect(ShellTarget("dash"), [network_probe(["nobody.invalid", "127.0.0.1"])], deadline_s=20)
    facts = parse_probe([section.text])
    assert not facts.missing
    assert {host.host for host in facts.network} == {"nobody.invalid", "127.0.0.1"}
    assert not next(host for host in facts.network if host.host == "nobody.invalid").ok
