"""Blanks a server as its inventory says, and proves it: by the lab's own marks, and by what the inventory asks besides.

Before it is blanked, and before it is handed over, the lab leaves a marker in each place that an app writes to, so that
a blanking which did nothing, or not enough, is found out.
Whatever runs there for a test carries a mark in its environment.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass

from pytest_testlab.errors import InfraError, NotBlankError, ending
from pytest_testlab.model import CommandResult
from pytest_testlab.protocols import Target
from pytest_testlab.target.ssh import SshTarget
from testlab_ssh.inventory import Blank, Listed

MARK = "TESTLAB_SERVER"
"""In the environment of whatever runs on a server for a test: the machine's identity."""
STEP_S = 30.0
TELLS = 500
_PLACES = 'for place in "$root" "$HOME" "${TMPDIR:-/tmp}"; do marker="$place/.testlab-used-$identity"'
_LEAVE = f'set -e\nmkdir -p "$root"\n{_PLACES}; : >"$marker"; done\n'
# What carries the mark, and what listens on a port of the platform's: nginx for one writes over its environment.
_FIND = (
    f"""
marked() {{
    grep -lszx "{MARK}=$identity" /proc/[0-9]*/environ 2>/dev/null | sed 's:^/proc/::; s:/environ$::'
}}
"""
    + r"""
listening() {
    sockets=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v ports="$ports" '
        BEGIN { n = split(ports, port, " "); for (i = 1; i <= n; i++) want[port[i]] = 1 }
        $4 == "0A" { split($2, part, ":"); if (part[2] in want) printf "socket:[%s] ", $10 }')
    [ -z "$sockets" ] || ls -l /proc/[0-9]*/fd 2>/dev/null | awk -v sockets="$sockets" '
        BEGIN { n = split(sockets, socket, " "); for (i = 1; i <= n; i++) want[socket[i]] = 1 }
        /^\/proc\// { split($0, part, "/"); pid = part[3]; next }
        ($NF in want) && !(pid in said) { said[pid] = 1; print pid }'
}
"""
)
_SWEEP = """
tries=0
while pids=$(marked; listening) && [ -n "$pids" ] && [ $tries -lt 100 ]; do
    kill -KILL $pids 2>/dev/null
    tries=$((tries + 1))
    sleep 0.05
done
true
"""
_LOOK = f"""
echo "boot $(cat /proc/sys/kernel/random/boot_id)"
{_PLACES}; [ ! -e "$marker" ] || echo "marker $marker"; done
[ ! -e "$root" ] || ls -A "$root" | sed 's/^/left /'
marked | sed 's/^/process /'
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" {{ sub(/.*:/, "", $2); print "listens " $2 }}'
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A listed server, and the working folder on it."""

    listed: Listed
    root: str

    def script(self, text: str) -> str:
        """A script that knows the place."""
        ports = " ".join(f"{port:04X}" for port in self.ports)
        return f"root={shlex.quote(self.root)}\nidentity={self.listed.identity}\nports='{ports}'\n{_FIND}{text}"

    @property
    def ports(self) -> range:
        """The platform's."""
        first, _, last = self.listed.ports.partition("-")
        return range(int(first), int(last) + 1)


def leave_marker(target: Target, place: Place) -> None:
    """Say on the server that it is used from now on; raises `InfraError`."""
    result = target.run(place.script(_LEAVE), timeout_s=STEP_S)
    if result.exit_code != 0:
        raise InfraError(f"{place.listed.name}: the lab's marker can't be left there: {_said(result)}")


def wipe(target: SshTarget, place: Place) -> dict[str, str]:
    """Blank a server and prove it; returns the proof; raises `NotBlankError` that says what is wrong."""
    listed = place.listed
    try:
        before = _boot_of_a_used(target, place)
        _blank(target, place, before)
        return _prove(target, place, before)
    except NotBlankError:
        raise
    except InfraError as error:
        raise NotBlankError(f"{listed.name} can't be made blank: {error}") from error


def _boot_of_a_used(target: SshTarget, place: Place) -> str:
    """Mark it as used; "" where nothing answers, which a hypervisor's command may mend."""
    try:
        leave_marker(target, place)
        return _boot(target)
    except InfraError:
        if place.listed.blank.command is None:
            raise
        return ""


def _boot(target: Target) -> str:
    """What tells this boot from any other; raises `InfraError`."""
    result = target.run("cat /proc/sys/kernel/random/boot_id", timeout_s=STEP_S)
    boot = result.stdout.decode(errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f-]{36}", boot):
        raise InfraError(f"{target.server.name}: it doesn't say which boot it is in: {_said(result)}")
    return boot


# --- blanking --------------------------------------------------------------------------------------------------------


def _blank(target: SshTarget, place: Place, before: str) -> None:
    blank = place.listed.blank
    deadline = time.monotonic() + blank.within_s
    if blank.command is not None:
        _on_the_lab_host(place.listed, blank.command, blank.within_s)
        target.close()  # whatever is at the line's other end now, it isn't what was there
        return
    _sweep(target, place)
    if blank.script is not None:
        _script(target, place, blank.script, deadline)
    if blank.reboot is not None:
        _reboot(target, place, blank, before, deadline)


def _on_the_lab_host(listed: Listed, command: str, within_s: float) -> None:
    """Run the blank command; `timeout` bounds it also when the lab itself is killed meanwhile."""
    child = subprocess.Popen(
        ["timeout", "-k", "5", f"{within_s:.3f}", "sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(listed),
        start_new_session=True,
    )
    try:
        said, _ = child.communicate(timeout=within_s + 10)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(10)
        raise NotBlankError(f"{listed.name}: its blank command did not end within {within_s:g} s") from None
    if child.returncode in (124, 137):
        raise NotBlankError(f"{listed.name}: its blank command did not end within {within_s:g} s")
    if child.returncode != 0:
        say = ending(" ".join(said.decode(errors="replace").split()), TELLS) or "it said nothing"
        raise NotBlankError(f"{listed.name}: its blank command ended with exit code {child.returncode}: {say}")


def _environment(listed: Listed) -> dict[str, str]:
    """What a blank command may need, from an allow-list; the lab's secrets are not in it."""
    allowed = re.compile(r"PATH|HOME|USER|LOGNAME|LANG|LC_[A-Z]+|TZ|TMPDIR|XDG_[A-Z_]+|SSH_AUTH_SOCK")
    own = {name: value for name, value in os.environ.items() if allowed.fullmatch(name)}
    return own | {"SERVER_NAME": listed.name, "SERVER_ADDRESS": listed.address}


def _sweep(target: Target, place: Place) -> None:
    """End what tests started there and what has the platform's ports: an inventory's script needs no list of it."""
    target.run(place.script(_SWEEP), timeout_s=STEP_S)


def _script(target: Target, place: Place, script: str, deadline: float) -> None:
    within_s = max(1.0, deadline - time.monotonic())
    result = target.run(script, timeout_s=within_s)
    if result.timed_out:
        raise NotBlankError(f"{place.listed.name}: its blank script did not end within {within_s:.0f} s")
    if result.exit_code != 0:
        raise NotBlankError(f"{place.listed.name}: its blank script ended with {_said(result)}")


def _reboot(target: SshTarget, place: Place, blank: Blank, before: str, deadline: float) -> None:
    assert blank.reboot is not None
    try:
        result = target.run(blank.reboot, timeout_s=STEP_S)
    except InfraError:
        result = None  # the line went with the server, as it should
    if result is not None and result.exit_code not in (0, None):
        raise NotBlankError(f"{place.listed.name}: its reboot command ended with {_said(result)}")
    target.close()
    while True:
        try:
            if _boot(target) != before:
                return
            why = "it did not reboot: its boot id is the same"
        except InfraError as error:
            why = str(error)
        target.close()
        if time.monotonic() >= deadline:
            raise NotBlankError(f"{place.listed.name}: not back within {blank.within_s:g} s: {why}")
        time.sleep(0.5)


# --- the proof -------------------------------------------------------------------------------------------------------


def _prove(target: Target, place: Place, before: str) -> dict[str, str]:
    listed = place.listed
    result = target.run(place.script(_LOOK), timeout_s=STEP_S)
    if result.exit_code != 0:
        raise NotBlankError(f"{listed.name}: it can't be looked at: {_said(result)}")
    pairs = [line.partition(" ") for line in result.stdout.decode(errors="replace").splitlines()]
    seen = {word: [rest for other, _, rest in pairs if other == word] for word in ("boot", "marker", "left", "process")}
    ports = {int(rest, 16) for word, _, rest in pairs if word == "listens"} & set(place.ports)
    for faults, what in (
        (seen["marker"], "still holds the marker that the lab left before"),
        (seen["left"], f"still holds, below {place.root},"),
        (seen["process"], "still runs what the lab started: process"),
        (sorted(map(str, ports)), "still listens on port"),
    ):
        if faults:
            raise NotBlankError(f"{listed.name} is not blank: it {what} {', '.join(faults[:5])}")
    rebooted = bool(before) and seen["boot"] not in ([], [before])
    if listed.proof.rebooted and not rebooted:
        raise NotBlankError(f"{listed.name} is not blank: it did not reboot, its boot id is the same")
    return {
        "markers": "gone",
        "folder": f"nothing below {place.root}",
        "processes": "none of the lab's",
        "ports": f"nothing listens on {listed.ports}",
        "boot": "another one" if rebooted else "the same",
    } | _prove_by_script(target, listed)


def _prove_by_script(target: Target, listed: Listed) -> dict[str, str]:
    proof = listed.proof
    if proof.script is None:
        return {}
    result = target.run(proof.script, timeout_s=proof.within_s)
    if result.exit_code != 0:
        raise NotBlankError(f"{listed.name} is not blank: its proof ended with {_said(result)}")
    if proof.stdout is not None and proof.stdout not in result.stdout.decode(errors="replace"):
        raise NotBlankError(
            f"{listed.name} is not blank: its proof did not print {proof.stdout!r}, but: {_said(result)}"
        )
    return {"script": "exit code 0" + (f", prints {proof.stdout!r}" if proof.stdout is not None else "")}


def _said(result: CommandResult) -> str:
    text = (result.stderr.strip() or result.stdout.strip()).decode(errors="replace")
    code = "no end in time" if result.timed_out else f"exit code {result.exit_code}"
    return f"{code}: {ending(' '.join(text.split()), TELLS) or 'it said nothing'}"
