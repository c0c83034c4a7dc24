"""What is said to a target's shell: the wrapper of a command, its payload, and the sweep after a deadline.

The wrapper is all that a process list shows. The script and its environment come over standard input, and are read
whole before they run, so that a command in the script that reads standard input can't eat the rest of it.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Mapping

from pytest_testlab.errors import UsageError

TERM_GRACE_S = 2
"""Between the polite signal at the deadline and the one that can't be refused."""
DEADLINE_CODES = (124, 128 + 9)
"""What `timeout` exits with when the deadline passed: after SIGTERM, and after SIGKILL."""
WAIT_S = 3600
"""How long a shell waits for its script; it ends with its line, too."""
MARK = "TESTLAB_COMMAND"
"""Set for everything that a command starts, so that what left its process group is found too."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def wrapper(mark: str, timeout_s: float) -> str:
    """The command line that reads a script from standard input and runs it for at most `timeout_s` seconds.

    The deadline is kept on the target: to cancel a call here would leave the processes there running.
    """
    return f"exec env {MARK}={mark} timeout -k {TERM_GRACE_S} {timeout_s:.3f} sh -c 'eval \"$(cat)\"'"


def waiting(mark: str) -> str:
    """The command line that waits for what `begin` says, for at most an hour, and then does as `wrapper` does.

    It prints one byte when it begins. Its folder may have been made anew while it waited, so it goes there again.
    """
    read = f"timeout {WAIT_S} sh -c 'IFS= read -r s && echo \"$s\"'"
    run = f'exec timeout -k {TERM_GRACE_S} "$s" sh -c \'eval "$(cat)"\''
    script = f'h=$PWD; s=$({read}) || exit; cd -- "$h" 2>/dev/null || cd /; echo; {run}'
    return f"exec env {MARK}={mark} sh -c {shlex.quote(script)}"


def begin(timeout_s: float) -> bytes:
    """What goes over standard input before the payload, to a shell that waits."""
    return f"{timeout_s:.3f}\n".encode()


def payload(script: str, cwd: str | None, env: Mapping[str, str] | None) -> bytes:
    """What goes over standard input; raises `UsageError` for a name that no shell can export or a NUL."""
    lines = ["exec </dev/null"]
    for name, value in (env or {}).items():
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} can't be the name of an environment variable; allowed: letters, digits and _")
        if "\0" in value:
            raise UsageError(f"the value of {name} holds a NUL, which no environment can carry")
        lines.append(f"export {name}={shlex.quote(value)}")
    if cwd is not None:
        lines.append(f"cd -- {shlex.quote(cwd)} || exit 126")
    lines.append(script)
    return "\n".join(lines).encode()


def sweep(mark: str, name: str = MARK) -> str:
    """A script that kills whatever still carries a mark in a variable, and exits 1 if something can't be killed."""
    return f"""
n=0
while :; do
  found=$(grep -lszx '{name}={mark}' /proc/[0-9]*/environ)
  [ -n "$found" ] || exit 0
  [ $n -lt 40 ] || break
  for file in $found; do pid=${{file#/proc/}}; kill -KILL "${{pid%/environ}}" 2>/dev/null; done
  n=$((n+1)); sleep 0.05
done
echo "still running: $found" >&2
exit 1
"""


def unpack(destination: str, timeout_s: float) -> str:
    """The command line that takes a tar stream from standard input; owners and times become the target's own."""
    inner = 'mkdir -p -- "$0" && exec tar -xmof - -C "$0"'
    return f"exec timeout -k {TERM_GRACE_S} {timeout_s:.3f} sh -c '{inner}' {shlex.quote(destination)}"


class Tail:
    """Keeps the last `limit` bytes of a stream and counts the rest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: deque[bytes] = deque()
        self._kept = 0
        self.size = 0

    def add(self, chunk: bytes) -> None:
        """Append; drops from the beginning, a chunk at a time, so that memory stays near the limit."""
        self._chunks.append(chunk)
        self._kept += len(chunk)
        self.size += len(chunk)
        while self._kept - len(self._chunks[0]) >= self._limit:
            self._kept -= len(self._chunks.popleft())

    def __bytes__(self) -> bytes:
        return b"".join(self._chunks)[-self._limit :]
