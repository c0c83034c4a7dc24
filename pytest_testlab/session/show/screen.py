"""The terminal that pytest writes to, with a block of lines below that is rewritten in place.

The cursor rests at the *top* of the block. So nobody needs to know how many lines it has: whatever is printed next, by
whomever, begins there, and "erase from here on" removes the block, also after the terminal was made narrower.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

ERASE = "\r\x1b[J"
PLAIN = "\x1b[0m"
GIVEN_UP_S = 0.5
TICK_S = 0.25
GUARD = 'read -r _ || printf "\\033[J"'
"""A shell that outlives a session that is killed, and removes what it left on the terminal."""


class Screen:
    """Stands in for the file of pytest's terminal writer: what is written there pushes the block down."""

    def __init__(self, writer: Any) -> None:
        """`writer` is pytest's terminal writer; `close` gives it its file back."""
        self._writer = writer
        self._file = writer._file
        self._fd = os.dup(self._file.fileno())
        """Its own, because pytest turns standard output elsewhere while a test runs in this process."""
        self._newline = "\r\n" if os.isatty(self._fd) else "\n"
        self._lock = threading.RLock()
        self._drawn: tuple[str, ...] | None = None
        self._line_open = False
        """Whether somebody has written a part of a line."""
        writer._file = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        """What pytest writes: the block makes room, and is drawn again once the line is at its end."""
        with self._lock:
            self._erase()
            if text:
                self._line_open = not text.endswith("\n")
            written: int = self._file.write(text)
            if not self._line_open:
                self._file.flush()
            return written

    def say(self, lines: Sequence[str]) -> None:
        """Print lines above the block, from any thread, also while pytest captures what a test prints."""
        with self._lock:
            self._erase()
            if self._line_open:
                self._file.flush()
            before = self._newline if self._line_open else ""
            self._line_open = False
            self._put(before + "".join(f"{line}{self._newline}" for line in lines))

    def draw(self, lines: Sequence[str]) -> None:
        """Write the block in place of the last one, in one go; not while a line is being written."""
        with self._lock:
            if self._line_open or self._drawn == tuple(lines):
                return
            self._drawn = tuple(lines)
            up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
            self._put("\r" + "\x1b[K\r\n".join(lines) + "\x1b[J" + up + "\r")

    def clear(self) -> None:
        """Remove the block, until it is drawn again."""
        with self._lock:
            self._erase()

    @contextlib.contextmanager
    def given_up(self) -> Iterator[None]:
        """Leave the terminal to a shell meanwhile, with no block and no colour; for the handler of a signal.

        Whoever is writing just now gets a moment to end that, and no longer: the terminal may have been halted.
        """
        held = self._lock.acquire(timeout=GIVEN_UP_S)
        try:
            self._drawn = None
            with contextlib.suppress(OSError):
                os.write(self._fd, (PLAIN + ERASE).encode())
            yield
        finally:
            if held:
                self._lock.release()

    def close(self) -> None:
        """Remove the block for good; may be called twice."""
        with self._lock:
            self._erase()
            if self._writer._file is self:
                self._writer._file = self._file
                os.close(self._fd)
                self._fd = -1

    @property
    def fd(self) -> int:
        """The descriptor of the terminal."""
        return self._fd

    def size(self) -> tuple[int, int]:
        """Columns and lines; 80 and 24 where the terminal doesn't say."""
        try:
            found = os.get_terminal_size(self._fd)
        except OSError:
            return 80, 24
        return found.columns or 80, found.lines or 24

    def _erase(self) -> None:
        if self._drawn is not None:
            self._drawn = None
            self._put(ERASE)

    def _put(self, text: str) -> None:
        """All of it. A terminal that has gone away takes nothing more; the run goes on without it."""
        data = text.encode(getattr(self._file, "encoding", None) or "utf-8", "backslashreplace")
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._fd, data) :]


class Ticker:
    """Does something every `every_s` seconds on a thread of its own."""

    def __init__(self, tick: Callable[[], None], every_s: float = TICK_S) -> None:
        self._tick = tick
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="testlab-show", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it does."""
        return self._thread.is_alive() and not self._over.is_set()

    def stop(self) -> None:
        """End; may be called twice, and without `start`."""
        self._over.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            self._tick()


class Guard:
    """Removes the block from the terminal when this process is killed. Where there is no shell, nobody does."""

    def __init__(self, fd: int) -> None:
        """`fd` is the terminal's. The shell ends when the pipe from this process does."""
        try:
            self._shell: subprocess.Popen[bytes] | None = subprocess.Popen(
                ["/bin/sh", "-c", GUARD],
                stdin=subprocess.PIPE,
                stdout=fd,
                stderr=subprocess.DEVNULL,
                env={},
                start_new_session=True,
            )
        except OSError:
            self._shell = None

    def dismiss(self) -> None:
        """The session ends by itself."""
        shell, self._shell = self._shell, None
        if shell is None:
            return
        try:
            shell.communicate(b"\n", timeout=5)
        except (subprocess.TimeoutExpired, OSError):
            shell.kill()
            shell.wait()
