"""`vm up NAME`, `vm down NAME`, `vm list`: machines for a plugin's page, each a real sshd of this machine.

`write_vm` makes the command, for sshd processes that were set up and stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openssh import Sshd


def write_vm(folder: Path, servers: Iterable[Sshd]) -> None:
    """The command `vm` in a folder, and what it knows of its machines."""
    machines = [
        {
            "name": "",
            "pid": 0,
            "command": [server.program, "-D", "-f", str(server.folder / "sshd_config")],
            "folder": str(server.folder),
            "user": [server.account.pw_uid, server.account.pw_gid],
            "ssh": {
                "host": server.address.host,
                "port": server.address.port,
                "user": server.address.user,
                "private_key": server.address.private_key,
                "host_key": server.address.host_key,
            },
        }
        for server in servers
    ]
    (folder / "machines.json").write_text(json.dumps(machines))
    (folder / "machines.json").chmod(0o600)
    program = folder / "vm"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from vm import main\nmain({str(folder / 'machines.json')!r}, sys.argv[1:])\n"
    )
    program.chmod(0o700)


def main(file: str, words: list[str]) -> None:
    """What the command does."""
    import fcntl

    with Path(file).open("r+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        machines = json.load(handle)
        found = [
            machine for machine in machines if machine["name"] and (words[0] == "list" or machine["name"] == words[1])
        ]
        if words[0] == "up" and not found:
            free = next(machine for machine in machines if not machine["name"])
            _start(free, words[1])
            found = [free]
        elif words[0] == "down":
            for machine in found:
                _stop(machine)
        handle.seek(0)
        handle.truncate()
        json.dump(machines, handle)
    sys.stdout.write(json.dumps({machine["name"]: machine["ssh"] for machine in found if machine["name"]}))


def _start(machine: dict[str, Any], name: str) -> None:
    uid, gid = machine["user"]
    other = {} if uid == os.geteuid() else {"user": uid, "group": gid, "extra_groups": ()}
    null = subprocess.DEVNULL
    process = subprocess.Popen(
        machine["command"], stdin=null, stdout=null, stderr=null, cwd="/", start_new_session=True, **other
    )
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", machine["ssh"]["port"]), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            machine |= {"name": name, "pid": process.pid}
            return


def _stop(machine: dict[str, Any]) -> None:
    """End all that runs there, and empty its folders."""
    mark = f"MACHINE={machine['ssh']['port']}".encode()
    with suppress(ProcessLookupError):
        os.kill(machine["pid"], signal.SIGKILL)
    while pids := [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if _holds(path, mark)]:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    for name in ("home", "tmp"):
        folder = Path(machine["folder"], name)
        shutil.rmtree(folder)
        folder.mkdir(0o700)
        os.chown(folder, *machine["user"])
    machine |= {"name": "", "pid": 0}


def _holds(environ: Path, mark: bytes) -> bool:
    try:
        return mark in environ.read_bytes().split(b"\0")
    except OSError:  # gone meanwhile, or another user's
        return False
