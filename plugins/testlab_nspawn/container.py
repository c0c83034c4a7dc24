"""One host at work: mounted, started, stopped, and cleared away from whatever state it is in."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from pytest_testlab.errors import InfraError
from testlab_nspawn import cgroups, network
from testlab_nspawn import places as files
from testlab_nspawn.commands import call, environ
from testlab_nspawn.records import HostRecord

MOUNT_WITHIN_S = 30.0
START_WITHIN_S = 20.0
CONSOLE_BYTES = 48 * 1024
_POWER_OFF = signal.SIGRTMIN + 4
_POLL_S = 0.01
_ASK_AGAIN_S = 1.0
_MODES = {"root": 0o700, "root/.ssh": 0o700, "var/lib/cloud/seed/nocloud": 0o700}
_REBOOT = 133
"""The exit code of systemd-nspawn that asks whoever started it to start it again: the host reboots."""
# The shell joins the groups, and runs systemd-nspawn in them: nothing of a host is ever outside of its groups.
_JOIN = f"""
groups=$1; shift
for procs in $groups; do echo $$ >"$procs" || exit 1; done
while "$@"; [ $? = {_REBOOT} ]; do :; done
"""


def furnish(folder: Path, content: Mapping[str, tuple[bytes, int]]) -> None:
    """Make a host's own folder, empty but for these files (path → content, mode). Nothing of it may be there yet.

    They are written there and not through what is mounted, where links of an image would be followed.
    """
    upper = folder / "upper"
    upper.mkdir(mode=0o755)
    upper.chmod(0o755)
    for name, (text, mode) in content.items():
        file = upper / name
        for inner in reversed(file.relative_to(upper).parents[:-1]):
            if not (upper / inner).exists():
                (upper / inner).mkdir()
                (upper / inner).chmod(_MODES.get(str(inner), 0o755))
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(handle, "wb") as out:
            os.fchmod(handle, mode)
            out.write(text)


def start(folder: Path, record: HostRecord, bridge: str) -> None:
    """Start a host that doesn't run; returns as soon as its PID 1 does. Raises `InfraError` with what it said."""
    _mount(folder, record)
    network.connect(record.unit, bridge, record.address, record.gateway)
    command = [
        "systemd-nspawn",
        "--quiet",
        f"--machine={record.name}",
        f"--directory={folder / 'root'}",
        "--boot",
        "--capability=CAP_NET_ADMIN",
        "--register=no",
        "--keep-unit",
        "--resolv-conf=off",
        "--link-journal=no",
        "--console=read-only",
        f"--network-namespace-path={network.namespace(record.unit)}",
    ]
    log = folder / "console.log"
    if cgroups.systemd_rules():
        _start_as_unit(record.unit, command, log)
    else:
        _start_in_groups(record.unit, command, log)
    _wait_for_init(record, log)


def _start_in_groups(unit: str, command: list[str], log: Path) -> None:
    """In a session of its own, handed to the machine's PID 1: it outlives whoever started it."""
    groups = " ".join(map(str, cgroups.make(unit)))
    joined = ["setsid", "--fork", "sh", "-c", _JOIN, "sh", groups, *command]
    with log.open("ab") as out:
        done = subprocess.run(
            joined,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environ(),
            cwd="/",
            timeout=START_WITHIN_S,
            check=False,
        )
    if done.returncode != 0:
        raise InfraError(f"{unit}: systemd-nspawn can't be started: exit code {done.returncode}")


def _start_as_unit(unit: str, command: list[str], log: Path) -> None:
    properties = ("Delegate=yes", "KillMode=mixed", "StandardInput=null", f"StandardOutput=append:{log}")
    reboots = (f"RestartForceExitStatus={_REBOOT}", f"SuccessExitStatus={_REBOOT}")
    call(
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={unit}",
        *(f"--property={word}" for word in (*properties, *reboots, f"StandardError=append:{log}")),
        *command,
        within_s=START_WITHIN_S,
    )


def _wait_for_init(record: HostRecord, log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    appeared = False
    while cgroups.init(record.unit) is None:
        here = bool(cgroups.processes(record.unit))
        if (appeared and not here) or time.monotonic() > deadline:
            said = tail(log, 2_000).strip().replace("\n", "; ") or "it said nothing"
            raise InfraError(f"{record.name}: systemd-nspawn did not start it: {said}")
        appeared = appeared or here
        time.sleep(_POLL_S)


def stop(record: HostRecord, within_s: float) -> bool:
    """Ask a host to power off, as its power button would; returns whether it did.

    It is asked again and again: while it boots there is a moment in which it hears nothing.
    """
    began = asked = time.monotonic()
    cgroups.signal_init(record.unit, _POWER_OFF)
    while cgroups.processes(record.unit):
        if time.monotonic() - began > within_s:
            return False
        if time.monotonic() - asked > _ASK_AGAIN_S:
            asked = time.monotonic()
            cgroups.signal_init(record.unit, _POWER_OFF)
        time.sleep(_POLL_S)
    return True


def clear(folder: Path, record: HostRecord) -> int:
    """Take a host off the machine, whatever of it there is: its disk alone stays. Returns how many processes it had.

    Raises `InfraError` for what can't be taken away.
    """
    killed = cgroups.kill(record.unit)
    _unmount(folder / "root")
    network.disconnect(record.unit)
    cgroups.remove(record.unit)
    for left in (Path("/run/systemd/nspawn/propagate"), Path("/run/systemd/nspawn/unix-export")):
        with contextlib.suppress(OSError):  # not there, or of another host of that name
            (left / record.name).rmdir()
    return killed


def _mount(folder: Path, record: HostRecord) -> None:
    for path in record.lower:
        if not Path(path).is_dir():
            raise InfraError(f"{record.name}: {path}, which it stands on, is gone")
    files.remove(folder / "work")
    for inner in ("work", "root"):
        (folder / inner).mkdir(mode=0o755, exist_ok=True)
    # volatile: nothing is written to the disk just because somebody asks for it; after a crash of this machine nobody
    # goes on with a host
    options = f"lowerdir={':'.join(record.lower)},upperdir={folder}/upper,workdir={folder}/work,index=off,volatile"
    call("mount", "-t", "overlay", "testlab-nspawn", "-o", options, str(folder / "root"), within_s=MOUNT_WITHIN_S)


def _unmount(root: Path) -> None:
    deadline = time.monotonic() + MOUNT_WITHIN_S
    while mounts := files.mounts_below(root):
        try:
            call("umount", mounts[0], within_s=MOUNT_WITHIN_S)
        except InfraError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


# --- what it says ----------------------------------------------------------------------------------------------------


def console(folder: Path, record: HostRecord) -> str:
    """The end of a host's console and of its journal, running or not."""
    parts = [tail(folder / "console.log", CONSOLE_BYTES // 3)]
    journal = folder / "upper/var/log/journal"
    if is_plain(journal, folder / "upper"):
        with contextlib.suppress(InfraError):  # no journalctl here, or nothing in it yet
            look = ("journalctl", "-q", "--no-pager", "-n", "400", "-o", "short-iso", "-D", str(journal))
            said = call(*look, within_s=20)
            parts.append(said[-CONSOLE_BYTES:])
    return "\n".join(part for part in parts if part.strip())


def tail(file: Path, most: int) -> str:
    """The end of a file; empty where there is none."""
    with contextlib.suppress(OSError), file.open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - most))
        return log.read().decode(errors="replace")
    return ""


def forget_identity(upper: Path) -> None:
    """Take out of a stopped host's disk what no two hosts may share; links that an app may have put lead nowhere."""
    single = ("etc/machine-id", "etc/testlab-epoch", "etc/hostname", "var/lib/systemd/random-seed")
    for name in (*single, "var/lib/dbus/machine-id"):
        if is_plain((upper / name).parent, upper):
            (upper / name).unlink(missing_ok=True)
    ssh = upper / "etc/ssh"
    if is_plain(ssh, upper):
        for key in ssh.glob("ssh_host_*"):
            key.unlink()
    for folder in ("var/log/journal", "root/.ssh", "var/lib/cloud", "tmp", "run"):
        if is_plain(upper / folder, upper):
            for path in (upper / folder).iterdir():
                files.remove(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def is_plain(folder: Path, upper: Path) -> bool:
    """Whether a folder is there, and no part of the way to it from the host's own root is a link."""
    parts = [upper / part for part in (folder.relative_to(upper), *folder.relative_to(upper).parents)]
    return folder.is_dir() and not any(part.is_symlink() for part in parts)
