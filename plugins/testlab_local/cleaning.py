"""Takes a target back to nothing: its processes, then its folder, and looks again."""

from __future__ import annotations

import time
from pathlib import Path

from pytest_testlab.errors import InfraError
from testlab_local import places, ports, processes, records
from testlab_local.records import Record

GRACE_S = 1.0
"""For processes to end when asked: PostgreSQL removes its shared memory then."""
KILL_WITHIN_S = 10.0
PORTS_WITHIN_S = 1.0


def clear(record: Record, server_pid: int | None) -> dict[str, str]:
    """Kill all that runs on a target, empty its folder, and prove both; raises `InfraError` with what is left.

    `server_pid` is its live SSH server's, None when that is gone. Returns the proof.
    """
    began = time.monotonic()
    killed = kill(record, server_pid)
    places.empty(Path(record.folder))
    _no_listener(record)
    if left := processes.on_target(server_pid, record.word):
        raise InfraError(f"{record.name}: a process came back after all were killed: {_names(left)}")
    return {
        "processes": f"{killed} killed, none left",
        "folder": "empty",
        "ports": f"nothing listens on {record.ports}",
        "seconds": f"{time.monotonic() - began:.3f}",
    }


def kill(record: Record, server_pid: int | None) -> int:
    """Kill all that runs on a target but its SSH server; returns how many; raises `InfraError`."""
    killed, left = processes.kill_all(
        lambda: processes.on_target(server_pid, record.word), grace_s=GRACE_S, within_s=KILL_WITHIN_S
    )
    if left:
        raise InfraError(f"{record.name}: can't be killed: {_names(left)}")
    return killed


def remove(base: Path, record: Record) -> None:
    """Remove a target whose SSH server is gone or is the caller: folder, record and log."""
    places.remove(Path(record.folder))
    records.forget(base, record.name)


def _no_listener(record: Record) -> None:
    first, _, last = record.ports.partition("-")
    block = range(int(first), int(last) + 1)
    deadline = time.monotonic() + PORTS_WITHIN_S
    while busy := ports.listening(block):
        if time.monotonic() > deadline:
            raise InfraError(f"{record.name}: something still listens on its ports {busy}")
        time.sleep(0.01)


def _names(left: list[processes.Process]) -> str:
    return ", ".join(f"{process.pid} ({_command(process.pid)})" for process in left[:5])


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone meanwhile"
