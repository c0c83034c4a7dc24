"""Proves that a server is blank, from inside: what it boots, who it is, and that nothing of the lab's is on its disk.

When a server is handed over the lab leaves a marker on it, so that a rebuild which did nothing is found out. The
strongest proof is no question: only what was told to this server for this first boot shows the host key that is pinned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pytest_testlab.errors import InfraError, NotBlankError, ending
from pytest_testlab.model import CommandResult
from pytest_testlab.protocols import Target

STEP_S = 30.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MARKER = 'marker="$HOME/.testlab-used"\n'
LEAVE_MARKER = f'{_MARKER}: >"$marker"'
TAKE_MARKER = f'{_MARKER}rm -f -- "$marker"'
_LOOK = (
    _MARKER
    + """
[ "$(id -u)" = 0 ] && root=/var/lib/testlab || root="$HOME/testlab"
if command -v cloud-init >/dev/null 2>&1; then
    timeout -k 2 "$FIRST_BOOT_S" cloud-init status --wait >/dev/null 2>&1
    echo "first-boot exit code $?"
fi
echo "boot $(cat /proc/sys/kernel/random/boot_id)"
echo "machine $(cat /etc/machine-id 2>/dev/null)"
echo "system $(. /etc/os-release && echo "$ID-$VERSION_ID")"
echo "root $root"
[ ! -e "$marker" ] || echo "marker $marker"
[ ! -e "$root" ] || ls -A "$root" | sed 's/^/left /'
"""
    + LEAVE_MARKER
)


def look_and_mark(target: Target, first_boot_s: float) -> dict[str, list[str]]:
    """What is to be seen on a server, a list of lines a word; leaves the marker. Raises `InfraError`."""
    result = target.run(_LOOK, timeout_s=first_boot_s + STEP_S, env={"FIRST_BOOT_S": f"{first_boot_s:.0f}"})
    seen: dict[str, list[str]] = {}
    for line in result.text.splitlines():
        word, _, rest = line.partition(" ")
        seen.setdefault(word, []).append(rest)
    if result.exit_code != 0 or not re.fullmatch(r"[0-9a-f-]{36}", (seen.get("boot") or [""])[0]):
        raise InfraError(f"{target.server.name}: it can't be looked at: {said(result)}")
    return seen


def judge(
    name: str, image: str, seen: Mapping[str, list[str]], before: Mapping[str, str], snapshot: str | None
) -> dict[str, str]:
    """The proof of a server that was handed over with the proof `before`; {} = a new one. Raises `NotBlankError`."""
    boot, machine, system = (seen[word][0] for word in ("boot", "machine", "system"))
    if "marker" in seen:
        raise NotBlankError(f"{name} is not blank: it still holds the marker that the lab left on it before")
    left = [] if snapshot is not None else seen.get("left", [])
    if left:
        raise NotBlankError(f"{name} is not blank: below {seen['root'][0]} it holds {', '.join(left[:5])}")
    proof = {
        "image": f"snapshot {snapshot}" if snapshot is not None else image,
        "system": system,
        "boot": boot,
        "machine": machine,
        "marker": "gone" if before else "none",
        "folder": f"as in snapshot {snapshot}" if snapshot is not None else f"nothing in {seen['root'][0]}",
        "host key": "the one that this first boot was given",
    }
    if "first-boot" in seen:
        proof["first boot"] = f"cloud-init ended with {seen['first-boot'][0]}"
    if boot == _boot_of_the_lab():
        # A loopback host of a stand-in: these are the lab host's own, whatever is on the server.
        return proof | {"boot": "the lab host's own", "machine": "the lab host's own", "system": "the lab host's own"}
    for word, value in (("boot", boot), ("machine", machine)):
        if value == before.get(word):
            raise NotBlankError(f"{name} is not blank: its {word} id is the one that it had before, {value}")
    if re.fullmatch(r"(debian|ubuntu|fedora)-[0-9.]+", image) and snapshot is None and system != image:
        raise NotBlankError(f"{name} is not what was asked for: it runs {system}, not {image}")
    return proof


def said(result: CommandResult) -> str:
    """What came of a command, for people."""
    text = (result.stderr.strip() or result.stdout.strip()).decode(errors="replace")
    code = "no end in time" if result.timed_out else f"exit code {result.exit_code}"
    return f"{code}: {ending(' '.join(text.split()), 300) or 'it said nothing'}"


def _boot_of_the_lab() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
