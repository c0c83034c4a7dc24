"""The channel that is opened before it is needed: as good as any other, and gone with its line."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_testlab.diagnosis.collect import collect, prepare
from pytest_testlab.model import Section, Server
from pytest_testlab.target.ssh import SshTarget

Soon = Callable[..., None]
Running = Callable[[str], list[int]]
WAITS = "IFS= read -r s"


def waiting_on(server: Server, running: Running) -> list[int]:
    """The shells that wait on this very server; others may be tested on this machine at the same time."""
    assert server.ssh is not None
    words = (f"127.0.0.1 {server.ssh.port}".encode(), server.facts["root"].encode() + b"/")
    found = []
    for pid in running(WAITS):
        try:
            innermost = Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sh\0-c\0" + WAITS.encode())
            environ = Path(f"/proc/{pid}/environ").read_bytes() if innermost else b""
        except OSError:  # gone meanwhile
            continue
        if any(word in environ for word in words):
            found.append(pid)
    return found


@pytest.fixture
def ready(target: SshTarget, running: Running, soon: Soon) -> SshTarget:
    """A line on which a shell waits."""
    target.prepare()
    soon(lambda: bool(waiting_on(target.server, running)))
    return target


def test_it_gives_what_a_run_gives_once(ready: SshTarget, running: Running, soon: Soon) -> None:
    """Output, exit code and folder are those of any other run; the next one needs nothing prepared."""
    script = "pwd; printf 'no newline'; echo oops >&2; cat; exit 3"
    first = ready.run_prepared(script, timeout_s=10)
    assert waiting_on(ready.server, running) == []
    for other in (ready.run(script, timeout_s=10), ready.run_prepared(script, timeout_s=10)):
        assert (first.stdout, first.stderr, first.exit_code) == (other.stdout, other.stderr, other.exit_code)
    assert first.exit_code == 3
    assert first.stdout.endswith(b"\nno newline")


def test_there_is_only_ever_one(ready: SshTarget, running: Running) -> None:
    """To prepare again changes nothing while one waits."""
    before = waiting_on(ready.server, running)
    ready.prepare()
    assert ready.run("echo", timeout_s=10).exit_code == 0
    assert waiting_on(ready.server, running) == before


def test_a_script_on_it_is_killed_at_its_deadline(ready: SshTarget, running: Running) -> None:
    """With all that it started, as on any channel."""
    nap = f"4000.{os.getpid()}{id(ready) % 10**6}"
    result = ready.run_prepared(f"echo begun; setsid sleep {nap} & trap '' TERM; sleep {nap}; sleep {nap}", timeout_s=1)
    assert result.timed_out
    assert result.stdout == b"begun\n"
    assert running(nap) == []


def test_nothing_of_a_script_on_it_shows(ready: SshTarget) -> None:
    """Whoever lists processes meanwhile doesn't see the script."""
    listed = ready.run_prepared("cat /proc/[0-9]*/cmdline 2>/dev/null # needle-in-prepared", timeout_s=20).stdout
    assert b"timeout" in listed
    assert b"needle-in-prepared" not in listed


def test_one_that_was_killed_is_done_without(ready: SshTarget, running: Running) -> None:
    """A target is blanked under its line: the next script runs all the same, and just once."""
    for pid in waiting_on(ready.server, running):
        with contextlib.suppress(ProcessLookupError):  # with its parent
            os.kill(pid, signal.SIGKILL)
    assert ready.run_prepared("echo ran", timeout_s=10).stdout == b"ran\n"


def test_it_ends_with_its_line(ready: SshTarget, running: Running, soon: Soon) -> None:
    """Nobody waits on the target for a lab that has gone."""
    ready.close()
    soon(lambda: waiting_on(ready.server, running) == [])
    ready.prepare()  # without a line there is nothing to prepare, and nothing to complain of
    assert ready.run_prepared("echo again", timeout_s=10).stdout == b"again\n"


def test_it_never_takes_a_channel_from_others(ready: SshTarget) -> None:
    """A server that allows ten at once still runs ten commands at once."""
    with ThreadPoolExecutor(10) as threads:
        results = list(threads.map(lambda n: ready.run(f"sleep 1; echo {n}", timeout_s=30).stdout, range(10)))
    assert [int(stdout) for stdout in results] == list(range(10))


def test_a_collection_takes_it(ready: SshTarget, running: Running) -> None:
    """And whoever can't be prepared is collected from as ever."""
    prepare(ready)
    (section,) = collect(ready, [Section(name="a", source="a", script="echo here")], deadline_s=20)
    assert section.text == b"here\n"
    assert waiting_on(ready.server, running) == []
