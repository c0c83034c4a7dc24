"""The provider `local`: makes, blanks and removes targets on this machine."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, cast

import asyncssh

from pytest_testlab.errors import InfraError, NotBlankError
from pytest_testlab.labels import is_ours
from pytest_testlab.model import Resource, Server, ServerRequest, SshAddress
from pytest_testlab.options import Settings
from pytest_testlab.protocols import Target
from pytest_testlab.store.home import home
from pytest_testlab.target.ssh import SshTarget
from testlab_local import cleaning, environment, places, processes, records
from testlab_local.records import Record

START_WITHIN_S = 20.0
END_WITHIN_S = 5.0
CONNECT_WITHIN_S = 10.0
CONSOLE_BYTES = 16 * 1024
ISOLATION = "no isolation"


class LocalProvider:
    """Targets are processes and folders of this machine; nothing else separates them from each other or from it.

    What an app writes outside its target's folder stays; only what a target's account may not do is out of its reach.
    """

    name = "local"
    default_platform = "procfile"
    blank_between_units = True

    def __init__(self, settings: Settings) -> None:
        self._account = places.account()
        self._base = places.prepare(home(settings))
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def create(self, request: ServerRequest) -> Server:
        """A new target for a slot; an earlier one of the same run and slot goes first. Raises `InfraError`."""
        name = places.check_name(f"{request.run}-{request.slot}")
        if old := records.read(self._base, name):
            self._destroy(old)
        record = Record(
            name=name,
            run=request.run,
            word=secrets.token_hex(12),
            user=self._account.name,
            folder=str(self._base / name),
            labels=dict(request.labels),
            created=time.time(),
        )
        host_key = asyncssh.generate_private_key("ssh-ed25519")
        client_key = asyncssh.generate_private_key("ssh-ed25519")
        try:
            started = self._start(record, host_key, client_key)
        except (OSError, InfraError) as error:
            if said := self._log(name):
                request.say(f"its SSH server said:\n{said}")
            self._destroy(record)
            raise InfraError(f"{name}: can't be made: {error}") from error
        return _server(started, request.image, _address(started, host_key, client_key))

    def blank(self, server: Server) -> Server:
        """The same target with nothing on it, under a new epoch; raises `NotBlankError`. From any process."""
        try:
            record = self._alive(server)
            proof = cleaning.clear(record, record.pid)
            places.furnish(Path(record.folder), self._account)
        except InfraError as error:
            raise NotBlankError(str(error)) from error
        except OSError as error:
            raise NotBlankError(f"{server.name}: {error}") from error
        records.write(self._base, replace(record, epoch=server.epoch + 1))
        return replace(server, epoch=server.epoch + 1, proof=proof)

    def destroy(self, server: Server) -> None:
        """End a target and all that runs on it, and remove its folder; gone already = done."""
        record = records.read(self._base, server.name)
        if record is not None:
            self._destroy(record)
        self._dismiss(server.name)

    def owned(self) -> Iterable[Server]:
        """Every target of this lab on this machine, whichever run made it, by its record on disk."""
        return [_server(record, None, None) for record in records.every(self._base)]

    def console(self, server: Server) -> str | None:
        """The end of its SSH server's log."""
        return self._log(places.check_name(server.name))

    def connect(self, server: Server) -> Target:
        """Open a line; raises `InfraError`. From any process that was given the server."""
        self._alive(server)
        return SshTarget(server, connect_within_s=CONNECT_WITHIN_S)

    # --- for the reaper -----------------------------------------------------------------------------------------------

    def resources(self, kinds: Collection[str] | None = None) -> Iterable[Resource]:
        """Every target of this lab that was made with labels, by its record on disk; all are servers."""
        if kinds is not None and "server" not in kinds:
            return ()
        found = ((record, records.labels_of(self._base, record)) for record in records.every(self._base))
        return [_resource(record, labels) for record, labels in found if is_ours(labels)]

    def remove(self, resource: Resource) -> None:
        """End a target and all that runs on it, and remove its folder; gone already = done. From any process."""
        record = records.read(self._base, places.check_name(resource.id))
        if record is not None:
            self._destroy(record)

    def write_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
        """Set some of a target's labels; raises `InfraError` when it is gone."""
        record = records.read(self._base, places.check_name(resource.id))
        if record is None:
            raise InfraError(f"{resource.name} is gone")
        try:
            records.write_labels(self._base, record, labels)
        except OSError as error:
            raise InfraError(f"{resource.name}: its labels can't be written: {error}") from error

    def _log(self, name: str) -> str | None:
        """The end of a target's log; None where there is none."""
        with contextlib.suppress(OSError), records.log_of(self._base, name).open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - CONSOLE_BYTES))
            return log.read().decode(errors="replace")
        return None

    def _alive(self, server: Server) -> Record:
        record = records.read(self._base, places.check_name(server.name))
        if record is None or not processes.is_alive(record.process):
            raise InfraError(f"{server.name}: its SSH server is gone")
        return record

    def _destroy(self, record: Record) -> None:
        alive = processes.is_alive(record.process)
        cleaning.kill(record, record.pid if alive else None)
        if alive:
            self._end(record)
            cleaning.kill(record, None)
        self._dismiss(record.name)
        cleaning.remove(self._base, record)

    def _dismiss(self, name: str) -> None:
        """Let go of a target's guard, which removes what is left and ends."""
        child = self._children.pop(name, None)
        if child is not None:
            _close(child)

    def _end(self, record: Record) -> None:
        processes.send(record.process, signal.SIGKILL)
        deadline = time.monotonic() + END_WITHIN_S
        while processes.is_alive(record.process):
            if time.monotonic() > deadline:
                raise InfraError(f"{record.name}: its SSH server, process {record.pid}, can't be killed")
            time.sleep(0.002)

    def _start(self, record: Record, host_key: asyncssh.SSHKey, client_key: asyncssh.SSHKey) -> Record:
        orders = {
            "base": str(self._base),
            "record": asdict(record),
            "uid": self._account.uid,
            "gid": self._account.gid,
            "host_private_key": host_key.export_private_key().decode(),
            "client_public_key": client_key.export_public_key().decode(),
        }
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "testlab_local.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it keeps a log
            env=_server_environ(),
            cwd="/",
            start_new_session=True,  # Ctrl-C in the terminal is for the lab, which still needs its targets then
        )
        self._children[record.name] = child
        with contextlib.suppress(BrokenPipeError):  # it died; what it said is in its log
            stdin = cast("IO[bytes]", child.stdin)
            stdin.write(json.dumps(orders).encode() + b"\n")
            stdin.flush()
        line = _first_line(child, START_WITHIN_S)
        if not line:
            child.kill()
            say = ((self._log(record.name) or "").strip() or "it said nothing").splitlines()[-1]
            raise InfraError(f"its SSH server did not start within {START_WITHIN_S:g} s: {say}")
        return Record(**json.loads(line))


def _server(record: Record, image: str | None, ssh: SshAddress | None) -> Server:
    return Server(
        name=record.name,
        provider=LocalProvider.name,
        epoch=record.epoch,
        ssh=ssh,
        image=image or None,
        isolation=ISOLATION,
        facts={"root": record.folder, "ports": record.ports, "user": record.user, "run": record.run},
        proof={"processes": "none yet", "folder": "new", "ports": f"nothing listens on {record.ports}"},
    )


def _resource(record: Record, labels: Mapping[str, str]) -> Resource:
    created = dt.datetime.fromtimestamp(record.created, dt.UTC) if record.created else None
    return Resource(
        kind="server", id=record.name, name=record.name, provider=LocalProvider.name, labels=labels, created_at=created
    )


def _address(record: Record, host_key: asyncssh.SSHKey, client_key: asyncssh.SSHKey) -> SshAddress:
    return SshAddress(
        host="127.0.0.1",
        port=record.port,
        user=record.user,
        private_key=client_key.export_private_key().decode(),
        host_key=host_key.export_public_key().decode().strip(),
    )


def _server_environ() -> dict[str, str]:
    """The SSH server's own environment: what its target gets, and how to find the lab's code."""
    own = {name: os.environ[name] for name in ("PYTHONPATH", "HOME") if name in os.environ}
    return {**environment.machine(os.environ), "PATH": environment.PATH, **own}


def _first_line(child: subprocess.Popen[bytes], within_s: float) -> bytes:
    stdout = cast("IO[bytes]", child.stdout)
    line = b""
    deadline = time.monotonic() + within_s
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(stdout.fileno(), 65_536) if ready else b""
        if not chunk:
            return b""
        line += chunk
    return line


def _close(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    child.wait(END_WITHIN_S)
