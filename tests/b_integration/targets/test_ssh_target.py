"""The line to a target, on our own SSH server and on a real OpenSSH one: what the conformance suites don't ask."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from pytest_testlab.errors import InfraError, UsageError
from pytest_testlab.model import Server
from pytest_testlab.target.channel import OUTPUT_LIMIT
from pytest_testlab.target.ssh import SshTarget

Running = Callable[[str], list[int]]
Soon = Callable[..., None]


@pytest.fixture
def nap() -> str:
    """A sleep that no other process of this machine sleeps: `sleep 4000.<random>`."""
    return f"4000.{secrets.randbelow(10**9):09}"


def test_at_the_deadline_nothing_of_the_command_is_left(target: SshTarget, nap: str, running: Running) -> None:
    """Children in sessions of their own, orphans, and those that ignore the polite signal go too."""
    script = f"""
        setsid sleep {nap} & (setsid sh -c 'sleep {nap} & sleep {nap}' &) ; (trap '' TERM; sleep {nap}; sleep {nap}) &
        echo begun; trap '' TERM; sleep {nap}; sleep {nap}
    """
    result = target.run(script, timeout_s=0.7)
    assert result.timed_out
    assert result.exit_code is None
    assert result.stdout == b"begun\n"
    assert running(nap) == []
    assert result.seconds < 30


def test_a_script_may_exit_with_the_deadlines_own_code(target: SshTarget, running: Running, nap: str) -> None:
    """124 is a deadline only when the time was up."""
    result = target.run(f"setsid sleep {nap} </dev/null >/dev/null 2>&1 & exit 124", timeout_s=10)
    assert result.exit_code == 124
    for pid in running(nap):
        os.kill(pid, signal.SIGKILL)


def test_a_daemon_that_keeps_the_output_open_does_not_hold_up(target: SshTarget, running: Running, nap: str) -> None:
    """A forgotten redirection costs a second, not the whole deadline."""
    result = target.run(f"setsid sleep {nap} & echo on", timeout_s=30)
    assert (result.exit_code, result.stdout) == (0, b"on\n")
    assert result.seconds < 20
    for pid in running(nap):
        os.kill(pid, signal.SIGKILL)


def test_output_is_bounded_to_its_end(target: SshTarget) -> None:
    """A command that floods its output neither stalls nor fills the memory; the last bytes are kept."""
    result = target.run("head -c 30000000 /dev/zero; echo the end; head -c 9000000 /dev/zero >&2", timeout_s=60)
    assert result.exit_code == 0
    assert len(result.stdout) == len(result.stderr) == OUTPUT_LIMIT
    assert result.stdout.endswith(b"the end\n")


def test_five_hundred_files_go_up_in_one_pipe(target: SshTarget, tmp_path: Path) -> None:
    """Contents, modes and inner links arrive; what belongs to the checkout alone stays."""
    folder = tmp_path / "app"
    for number in range(500):
        file = folder / f"d{number % 10}" / f"f {number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"content {number}\n")
    (folder / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (folder / "run.sh").chmod(0o700)
    (folder / "link").symlink_to("d1/f 1.txt")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").touch()
    (folder / "__pycache__").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "empty").mkdir()
    there = target.server.facts["root"] + "/up loaded"
    began = time.monotonic()
    target.upload(folder, there)
    assert time.monotonic() - began < 20
    result = target.run(
        "./run.sh; cat link; find . -type f | wc -l; ls -A; stat -c %a run.sh link", timeout_s=10, cwd=there
    )
    lines = result.stdout.decode().split()
    assert lines[:4] == ["ran", "content", "1", "501"]
    assert {".git", "__pycache__", "fifo"}.isdisjoint(lines)
    assert {"empty", "755"} <= set(lines)


@pytest.mark.parametrize("leads_to", ["/etc/passwd", "../outside", "inner/../../outside"])
def test_a_link_that_leads_out_is_refused(server: Server, tmp_path: Path, leads_to: str) -> None:
    """An entry can't have the lab's own files uploaded."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "link").symlink_to(leads_to)
    target = SshTarget(server)
    with pytest.raises(UsageError, match="the link leads out of the folder"):
        target.upload(folder, server.facts["root"] + "/app")
    assert target.run("echo the line is as good as before", timeout_s=30).exit_code == 0
    target.close()


def test_an_upload_that_has_no_place_says_so(target: SshTarget, tmp_path: Path) -> None:
    """What tar said is in the error."""
    (tmp_path / "file").write_bytes(os.urandom(3_000_000))
    with pytest.raises(InfraError, match="/proc/nowhere"):
        target.upload(tmp_path, "/proc/nowhere")


def test_another_host_key_is_refused(any_server: Server) -> None:
    """The key is pinned: a server that can't prove it is the one isn't trusted, on first use or ever."""
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    address = any_server.ssh
    assert address is not None
    with pytest.raises(
        InfraError, match=rf"127\.0\.0\.1:{address.port}: no SSH within 0\.5 s: Host key is not trusted"
    ):
        SshTarget(replace(any_server, ssh=replace(address, host_key=other)), connect_within_s=0.5)


def test_another_key_is_not_let_in(any_server: Server) -> None:
    """A local target is no open door for the machine's other users."""
    other = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    address = any_server.ssh
    assert address is not None
    with pytest.raises(InfraError, match="Permission denied"):
        SshTarget(replace(any_server, ssh=replace(address, private_key=other)), connect_within_s=0.5)


def test_a_lost_line_is_the_servers_fault(server: Server, running: Running, nap: str) -> None:
    """A command on a server that dies ends at once, as an infrastructure error that names the place."""
    target = SshTarget(server, connect_within_s=3)
    assert server.ssh is not None
    pid = int(target.run("grep ^PPid: /proc/$PPID/status", timeout_s=30).stdout.split()[1])
    threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
    began = time.monotonic()
    with pytest.raises(InfraError, match=rf"127\.0\.0\.1:{server.ssh.port}: the line was lost"):
        target.run(f"sleep {nap}", timeout_s=30)
    with pytest.raises(InfraError, match=rf"127\.0\.0\.1:{server.ssh.port}: no SSH"):
        target.run("true", timeout_s=30)
    assert time.monotonic() - began < 20
    target.close()


def test_the_lines_come_back(any_server: Server) -> None:
    """After a line was closed, the next command opens another; closing twice does no harm."""
    target = SshTarget(any_server)
    target.close()
    target.close()
    assert target.run("echo again", timeout_s=30).stdout == b"again\n"
    target.close()
