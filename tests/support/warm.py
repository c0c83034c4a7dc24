"""A process that has imported what every session imports, and forks itself for each of hundreds of them.

The lab's own modules come in as they do in a session: by pytest's hook that rewrites assertions. A session's workers
are forked as well: they are children of the session, and what it was before it began. What must be a process from the
beginning, as a user's is (the drill, a clock that is off), is started by `cold` or by `subprocess` itself.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLD = ("PYTHON", "LC_", "LANG", "LD_")
"""Names of variables that Python or the linker reads at its start, and never again."""
LONGEST_ORDER = 256 * 1024
OPTIONS = {"cwd", "env", "stdin", "stdout", "stderr", "text", "start_new_session", "process_group"}
BEGINS_WITHIN_S = 120.0
UNKNOWN = signal.SIGKILL
"""How a process ended whose end nobody could see, since the whole suite is being killed."""
TESTLAB = ("-c", "import sys; from pytest_testlab.cli import main; sys.exit(main())")
"""The command `testlab`."""
PLUGINS = (
    "pytest_testlab.catalog.stages",
    "pytest_testlab.cli.ini",
    "pytest_testlab.cli.new",
    "pytest_testlab.diagnosis.shapes",
    "pytest_testlab.distribution.worker",
    "pytest_testlab.plugin",
    "pytest_testlab.session.distributed",
    "pytest_testlab.session.local",
    "pytest_testlab.testing",
    "testlab_local.provider",
    "testlab_server.serving",
    "xdist.looponfail",
    "xdist.newhooks",
    "xdist.remote",
)
"""What sessions and commands of the lab import, with all that these import."""


class Warm:
    """The process, from the side of the tests."""

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
        return _alike(environ, self._environ)

    def order(self, order: Mapping[str, object], fds: Sequence[int]) -> tuple[int, socket.socket]:
        """Have a program run with these standard streams; returns its pid, and where its exit code will be said."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        said = json.dumps(order).encode()
        assert len(said) < LONGEST_ORDER
        with theirs:
            socket.send_fds(self._channel, [said], [*fds, theirs.fileno()])
        ours.settimeout(BEGINS_WITHIN_S)
        return int(ours.recv(64)), ours

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


class Popen(subprocess.Popen[Any]):
    """`-m MODULE ARGUMENT…` or `-c CODE ARGUMENT…` as a process; one from the beginning if its environment so asks."""

    _says: socket.socket | None = None

    def __init__(self, program: Sequence[str], **options: Any) -> None:
        """`options` are some of those of `subprocess.Popen`."""
        assert options.keys() <= OPTIONS
        super().__init__([sys.executable, *program], **options)

    def _execute_child(self, args: list[str], *more: Any) -> None:
        (cwd, environ), pipes, (own_session, group) = more[4:6], more[9:15], more[-2:]
        environ = dict(os.environ if environ is None else environ)
        if not warm().fits(environ):
            super()._execute_child(args, *more)  # type: ignore[misc]
            return
        order = {
            "program": args[1:],
            "cwd": str(cwd or Path.cwd()),
            "environ": environ,
            "own session": own_session,
            "own group": group == 0,
        }
        fds = [given if given != -1 else number for number, given in enumerate((pipes[0], pipes[3], pipes[5]))]
        self.pid, self._says = warm().order(order, fds)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _try_wait(self, flags: int) -> tuple[int, int]:
        """What `os.waitpid` says of a child."""
        if self._says is None:
            return super()._try_wait(flags)  # type: ignore[misc,no-any-return]
        self._says.settimeout(0 if flags & os.WNOHANG else None)
        try:
            status = int(self._says.recv(64) or UNKNOWN)
        except BlockingIOError:
            return 0, 0
        self._says.close()
        return self.pid, status

    def _internal_poll(self, **kinds: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid == self.pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


def cold(program: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """The same as a process from the beginning, whose command line is its own."""
    return subprocess.Popen([sys.executable, *program], **options)


def run(program: Sequence[str], *, timeout_s: float, **options: Any) -> int:
    """Run it to its end; returns its exit code.

    Raises `subprocess.TimeoutExpired` once it is killed for taking too long.
    """
    with Popen(program, **options) as process:
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def testlab(*arguments: str, timeout_s: float, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command of the lab, to its end."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with Popen([*TESTLAB, *arguments], **streams, **options) as process:
        try:
            said, complained = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess([*TESTLAB, *arguments], process.returncode, said, complained)


# --- in the process itself ---


def _load() -> None:
    import asyncio
    import email.message
    import http.client
    import pdb
    import unittest

    import asyncssh
    import execnet
    import psutil
    import psycopg
    import pytest
    import sqlalchemy.dialects.postgresql
    import zstandard
    from _pytest.config import default_plugins

    for name in default_plugins:
        __import__(f"_pytest.{name}")
    _load_by_the_hook()
    _ = (asyncio, asyncssh, email, execnet, http, pdb, psutil, psycopg, pytest, sqlalchemy, unittest, zstandard)
    gc.collect()
    gc.freeze()  # or each session would look through all this at its end


def _load_by_the_hook() -> None:
    """As pytest itself would load its plugins: about what came in otherwise a session would warn."""
    from importlib.metadata import entry_points

    from _pytest.assertion import install_importhook
    from _pytest.config import get_config

    hook = install_importhook(get_config())
    hook.mark_rewrite("pytest_testlab", "xdist")
    for name in PLUGINS:
        __import__(name)
    for entry_point in entry_points(group="testlab"):
        entry_point.load()
    sys.meta_path.remove(hook)


def _forked(channel: socket.socket) -> list[str]:
    """Returns in each child, ready to run its program; in the process itself never."""
    while True:
        said, fds, _, _ = socket.recv_fds(channel, LONGEST_ORDER, 4)
        if not said:
            os._exit(0)  # whoever asked is gone
        if os.fork() == 0:
            channel.close()
            return _kept(said, fds)
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _kept(said: bytes, fds: list[int]) -> list[str]:
    """Returns in a child, ready to run its program; says its pid and how it ended."""
    says = socket.socket(fileno=fds.pop())
    pid = os.fork()
    if pid == 0:
        says.close()
        return _ready(said, fds)
    os.setpgid(0, 0)  # what is sent to the child's group isn't meant; in its session, or Ctrl-Z would not stop it
    for fd in fds:
        os.close(fd)
    with contextlib.suppress(BrokenPipeError):
        says.send(str(pid).encode())
        says.send(str(os.waitpid(pid, 0)[1]).encode())
    os._exit(0)


def _ready(said: bytes, fds: Sequence[int]) -> list[str]:
    """Become what was ordered; returns the program."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    order = json.loads(said)
    program: list[str] = order["program"]
    if order["own session"]:
        os.setsid()
    if order["own group"]:
        os.setpgid(0, 0)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    os.chdir(order["cwd"])
    began_with = dict(os.environ)
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()
    pool = program[program.index("--testlab-pool") + 1] if "--testlab-pool" in program else ""
    if pool.isdecimal() and int(pool) > 1:
        spares = _Spares(began_with)
        for _ in range(int(pool) + 1):  # one more: for the worker that takes a dead one's place
            if (bootstrap := spares.fork()) is not None:
                return bootstrap
        spares.serve_execnet()
    return program


class _Spares:
    """Children of a session that was not yet begun, each of which waits to become one of its workers."""

    def __init__(self, began_with: Mapping[str, str]) -> None:
        self._began_with = began_with
        self._waiting: list[tuple[int, socket.socket]] = []

    def fork(self) -> list[str] | None:
        """One more; returns in it as well, with its program, once it is to be a worker."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid:
            theirs.close()
            self._waiting.append((pid, ours))
            return None
        for number in (signal.SIGINT, signal.SIGTERM):  # as one that isn't there yet, and can't be meant
            signal.signal(number, signal.SIG_IGN)
        for held in (ours, *(channel for _, channel in self._waiting)):
            held.close()
        said, fds, _, _ = socket.recv_fds(theirs, LONGEST_ORDER, 2)
        theirs.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return _ready(said, fds) if said else os._exit(0)

    def serve_execnet(self) -> None:
        """From now on execnet's Popen takes one of these, as long as there are any and they began alike."""
        from execnet import gateway_base, gateway_io

        spares = self

        class IO(gateway_io.Popen2IOMaster):
            def __init__(self, args: list[str], execmodel: Any) -> None:
                self.popen = _ForkedPopen(spares, args)
                gateway_base.Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel=execmodel)

        gateway_io.Popen2IOMaster = IO

    def take(self, args: list[str], stdin: int, stdout: int) -> int | None:
        """The pid of a spare that runs a program from now on; None when there is none, or none that began alike."""
        if args[0] != sys.executable or not _alike(os.environ, self._began_with):
            return None
        order = {
            "program": args[-2:],
            "cwd": str(Path.cwd()),
            "environ": dict(os.environ),
            "own session": False,
            "own group": False,
        }
        while self._waiting:
            pid, channel = self._waiting.pop(0)
            try:
                with channel:
                    socket.send_fds(channel, [json.dumps(order).encode()], [stdin, stdout])
                return pid
            except OSError:  # somebody has killed it
                os.waitpid(pid, 0)
        return None


class _ForkedPopen(subprocess.Popen[bytes]):
    """A child with two pipes; it isn't started but was waiting."""

    def __init__(self, spares: _Spares, args: list[str]) -> None:
        self._spares = spares
        super().__init__(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _execute_child(self, args: list[str], *more: Any) -> None:
        (stdin, _), (_, stdout) = more[9:11], more[11:13]
        pid = self._spares.take(args, stdin, stdout)
        if pid is None:
            super()._execute_child(args, *more)  # type: ignore[misc]
            return
        self._close_pipe_fds(*more[9:15])  # type: ignore[attr-defined]
        self._child_created = True
        self.pid = pid


def _alike(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether programs with these environments begin alike."""
    return all(one.get(name) == other.get(name) for name in {*one, *other} if name.startswith(COLD))


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
