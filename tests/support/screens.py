"""A real terminal with eyes: a session on a pseudo-terminal, and what a person would see of it."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import locale
import os
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil
import pyte
import warm


class Screen:
    """A process whose output is a terminal of so many columns and lines."""

    def __init__(
        self,
        program: Sequence[str],
        *,
        cwd: Path,
        environ: Mapping[str, str],
        more: Mapping[str, str] | None = None,
        columns: int = 100,
        lines: int = 60,
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.raw = b""
        """All that was written."""
        self._terminal, theirs = os.openpty()
        self._set_size(columns, lines)
        inherited = {name: value for name, value in environ.items() if name not in ("COLUMNS", "LINES")}
        speaks = {} if codecs.lookup(locale.getencoding()).name == "utf-8" else {"LC_ALL": "C.UTF-8"}
        self.process = warm.Popen(
            program,
            cwd=cwd,
            env={**inherited, "TERM": "xterm-256color", **speaks, **(more or {})},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            process_group=0,  # in this session: the shell that one types Ctrl-Z into is the tests' own process
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(10)
        os.close(self._terminal)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed: nobody writes any more
            while data := os.read(self._terminal, 65_536):
                with self._lock:
                    self.raw += data
                    self._stream.feed(data)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Make the terminal another size."""
        with self._lock:
            self._screen.resize(lines, columns)
            self._set_size(columns, lines)

    def lines(self) -> list[str]:
        """What stands on the screen, without what is empty below and to the right."""
        with self._lock:
            shown = [line.rstrip() for line in self._screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def cursor_is_hidden(self) -> bool:
        """Whether a person would look for it."""
        return bool(self._screen.cursor.hidden)

    def wait_for(self, seen: Callable[[list[str]], bool], what: str, timeout_s: float = 60.0) -> list[str]:
        """Wait until the screen shows something; returns the screen."""
        deadline = time.monotonic() + timeout_s
        while not seen(shown := self.lines()):
            assert time.monotonic() < deadline, f"{what} did not appear:\n" + "\n".join(shown)
            time.sleep(0.02)
        return shown

    def interrupt(self) -> None:
        """Ctrl-C: the whole group of processes gets it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def pause(self) -> None:
        """Ctrl-Z: the whole group stops; waits until it has."""
        os.killpg(self.process.pid, signal.SIGTSTP)
        deadline = time.monotonic() + 20
        while psutil.Process(self.process.pid).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline, "it did not stop"
            time.sleep(0.02)

    def go_on(self) -> None:
        """What `fg` does."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def ends(self, timeout_s: float = 60.0) -> int:
        """Wait for the end, and for all that was written; returns the exit code."""
        code = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        return code
