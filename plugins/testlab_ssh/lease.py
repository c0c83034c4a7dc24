"""The note on a server itself that says which run has it, and until when, by the server's own clock.

It is read and written under a lock there, so that of several that come at once one gets it, from whatever lab.
"""

from __future__ import annotations

import datetime as dt
import re
import shlex
from dataclasses import dataclass

from pytest_testlab.errors import InfraError, Taken
from pytest_testlab.moments import shown
from pytest_testlab.protocols import Target

STEP_S = 20.0
TAKEN = 20
"""Exit code: somebody else has it."""
_LINE = re.compile(r"([0-9]{1,12}) ([0-9a-f]{1,64}) ([A-Za-z0-9._-]{1,100})(?: (.{0,200}))?")
# Only below the lock is anything read or written. What isn't a lease of ours counts as one that never ends.
_SCRIPT = """
umask 077
command -v flock >/dev/null || { echo "flock isn't there; install util-linux" >&2; exit 1; }
exec 9>>"$file.lock" || exit 1
flock -w 10 9 || { echo "$file.lock was held for 10 s" >&2; exit 1; }
now=$(date +%s)
until= token= rest=
if [ -e "$file" ] || [ -L "$file" ]; then
    [ -f "$file" ] && [ ! -L "$file" ] && [ -O "$file" ] || { echo "$file is not this account's" >&2; exit 1; }
    read -r until token rest <"$file"
    case $until in '' | *[!0-9]*) until=0 ;; esac
fi
put() { printf '%s\\n' "$((now + seconds)) $mine $run" >"$file.new" && mv -f "$file.new" "$file"; }
taken() { echo "taken $until $token $rest"; exit 20; }
"""
_TAKE = '[ "$token" = "$mine" ] || [ "$until" = "" ] || [ "$until" -le "$now" ] || taken\nput || exit 1\n'
_RENEW = '[ "$token" = "$mine" ] || [ "$until" = "" ] || taken\nput || exit 1\n'
_RELEASE = '[ "$token" != "$mine" ] || rm -f "$file"\n'
_READ = '[ "$until" = "" ] || echo "$until $token $rest"\n'


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Who has a server."""

    token: str
    """Random; whoever knows it is the holder."""
    run: str
    trigger: str
    until: dt.datetime | None = None
    """By the server's clock."""

    def __str__(self) -> str:
        until = f", until {shown(self.until, seconds=True)}" if self.until is not None else ""
        return f"run {self.run}, {self.trigger or 'started by somebody'}{until}"


def take(target: Target, file: str, lease: Lease, seconds: float) -> None:
    """Take a server that is free, or whose lease has expired; raises `Taken` or `InfraError`."""
    _ask(target, file, _TAKE, lease, seconds)


def renew(target: Target, file: str, lease: Lease, seconds: float) -> None:
    """Hold a server for longer, also one whose disk was put back meanwhile; raises `Taken` or `InfraError`."""
    _ask(target, file, _RENEW, lease, seconds)


def release(target: Target, file: str, lease: Lease) -> None:
    """Give a server back; somebody else's by now = done. Raises `InfraError`."""
    _ask(target, file, _RELEASE, lease, 0)


def read(target: Target, file: str) -> Lease | None:
    """Who has a server, or had it last and died; None when nobody has. Raises `InfraError`."""
    return _lease(_ask(target, file, _READ, None, 0))


def _ask(target: Target, file: str, what: str, lease: Lease | None, seconds: float) -> str:
    words = {"file": file, "seconds": str(int(seconds)), "mine": "", "run": ""}
    if lease is not None:
        words |= {"mine": lease.token, "run": f"{lease.run} {lease.trigger}"}
    lines = [f"{name}={shlex.quote(value)}" for name, value in words.items()]
    result = target.run("\n".join([*lines, _SCRIPT + what]), timeout_s=STEP_S)
    said = result.stdout.decode(errors="replace").strip()
    if result.exit_code == TAKEN:
        raise Taken(target.server.name, _lease(said.removeprefix("taken ")))
    if result.exit_code != 0:
        why = " ".join(result.stderr.decode(errors="replace").split())[-300:]
        why = why or ("it took too long" if result.timed_out else f"exit code {result.exit_code}")
        raise InfraError(f"{target.server.name}: its lease {file} can't be had: {why}")
    return said


def _lease(line: str) -> Lease | None:
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    try:
        until = dt.datetime.fromtimestamp(int(found[1]), dt.UTC)
    except (ValueError, OverflowError, OSError):
        until = None
    trigger = found[4] or ""
    return Lease(token=found[2], run=found[3], trigger=trigger if trigger.isprintable() else "", until=until)
