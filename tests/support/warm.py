"""A process that has imported what every session imports, and forks itself for each of hundreds of them.

What is the lab's own each session loads itself, once pytest's hooks are in place, as ever; and so it does pytest's
plugins. Its workers are processes from the beginning, by execnet.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

COLD = ("PYTHON", "LC_", "LANG", "LD_")
"""Names of variables that Python or the linker reads at its start, and never again."""
LONGEST_ORDER = 256 * 1024


class Warm:
    """The process, from the side of the tests; one run at a time."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._environ = dict(os.environ)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__)), str(theirs.fileno())], cwd="/", pass_fds=[theirs.fileno()]
            )
        atexit.register(self.close)

    def fits(self, environ: Mapping[str, str]) -> bool:
        """Whether a program that begins with this environment would have begun alike in this process."""
        names = {name for name in {*environ, *self._environ} if name.startswith(COLD)}
        return all(environ.get(name) == self._environ.get(name) for name in names)

    def run(self, program: Sequence[str], stdin: int, out: IO[bytes], err: IO[bytes], timeout_s: float) -> int:
        """Run `-m MODULE ARGUMENT…` or `-c CODE ARGUMENT…` here and with this environment; returns its exit code.

        Raises `subprocess.TimeoutExpired` once it is killed for taking too long.
        """
        order = json.dumps({"program": program, "cwd": str(Path.cwd()), "environ": dict(os.environ)}).encode()
        assert len(order) < LONGEST_ORDER
        self._channel.settimeout(timeout_s)
        socket.send_fds(self._channel, [order], [stdin, out.fileno(), err.fileno()])
        pid = int(self._channel.recv(64))
        try:
            return int(self._channel.recv(64))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self._channel.settimeout(60)
            self._channel.recv(64)
            raise subprocess.TimeoutExpired(list(program), timeout_s) from None

    def close(self) -> None:
        """End it."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()


@functools.cache
def warm() -> Warm:
    """This process's own, from now to its end."""
    return Warm()


def run(program: Sequence[str], stdin: int, out: IO[bytes], err: IO[bytes], timeout_s: float) -> int:
    """`Warm.run`; in a process from the beginning where the environment asks for one."""
    if warm().fits(os.environ):
        return warm().run(program, stdin, out, err, timeout_s)
    return subprocess.run(
        [sys.executable, *program], stdin=stdin, stdout=out, stderr=err, timeout=timeout_s, check=False
    ).returncode


# --- in the process itself ---


def _load() -> None:
    import asyncio
    import email.message
    import http.client
    import unittest

    import execnet
    import psutil
    import psycopg
    import pytest
    import sqlalchemy.dialects.postgresql
    import zstandard
    from _pytest.config import default_plugins

    for name in default_plugins:
        __import__(f"_pytest.{name}")
    _ = (asyncio, email, execnet, http, psutil, psycopg, pytest, sqlalchemy, unittest, zstandard)


def _forked(channel: socket.socket) -> list[str]:
    """Returns in each child, ready to run its program; in the process itself never."""
    while True:
        said, fds, _, _ = socket.recv_fds(channel, LONGEST_ORDER, 3)
        if not said:
            os._exit(0)  # whoever asked is gone
        pid = os.fork()
        if pid == 0:
            channel.close()
            for number, fd in enumerate(fds):
                os.dup2(fd, number)
                os.close(fd)
            order = json.loads(said)
            os.chdir(order["cwd"])
            os.environ.clear()
            os.environ.update(order["environ"])
            time.tzset()
            return list(order["program"])
        for fd in fds:
            os.close(fd)
        channel.send(str(pid).encode())
        channel.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


def _main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    _load()
    kind, what, *arguments = _forked(channel)
    sys.path[0] = str(Path.cwd()) if kind == "-m" else ""
    if kind == "-m":
        import runpy

        sys.argv[:] = [what, *arguments]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = ["-c", *arguments]
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102  as Python does it


if __name__ == "__main__":
    _main()
