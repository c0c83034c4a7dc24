"""The provider `nspawn`: what `protocols` asks of one, by way of hosts."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import asyncssh

from pytest_testlab import labels as marks
from pytest_testlab.errors import InfraError, NotBlankError, UsageError
from pytest_testlab.model import Resource, Server, ServerRequest, SshAddress
from pytest_testlab.options import Settings
from pytest_testlab.protocols import Target
from pytest_testlab.target.ssh import SshTarget
from testlab_nspawn.hosts import Gone, Hosts, Made, Order
from testlab_nspawn.recipes import DEFAULT, recipe
from testlab_nspawn.records import HostRecord, LayerRecord

ANSWER_WITHIN_S = 30.0
"""From PID 1's start to sshd's first answer; a second or two where the machine isn't busy."""
CONNECT_WITHIN_S = 10.0
LOOK_WITHIN_S = 15.0
ISOLATION = "systemd-nspawn, shared kernel"
USER = "root"
_POLL_S = 0.02
_LOOK_S = 1.0
_LOOK = r"""
echo "boot_id=$(cat /proc/sys/kernel/random/boot_id)"
echo "machine_id=$(cat /etc/machine-id)"
echo "word=$(cat /etc/testlab-epoch)"
echo "init=$(cat /proc/1/comm)"
if [ -e /var/lib/testlab ]; then echo "platform=yes"; else echo "platform=no"; fi
"""


class NspawnProvider:
    """Each server is a host of this machine with a systemd, a journal, a network and an sshd of its own."""

    name = "nspawn"
    default_platform = "procfile"
    blank_between_units = True
    default_image = DEFAULT
    """Apps have root's whole host to themselves, and to make it blank takes two seconds."""

    def __init__(self, settings: Settings) -> None:
        """Raises `UsageError` where this machine can't have such hosts, or the image isn't known."""
        self._hosts = Hosts()
        if settings.provider == self.name:
            for image in filter(None, (settings.image or "").split(",")):
                recipe(image.strip())

    # --- what a provider does -----------------------------------------------------------------------------------------

    def create(self, request: ServerRequest) -> Server:
        """A new host for a slot; an earlier one of the same run and slot goes first. Raises `InfraError`."""
        order = replace(
            _order(request.name, _new_key()), image=request.image, layer=request.snapshot, labels=_labels(request)
        )
        made = self._hosts.make(order, request.say)
        try:
            return self._proven(self._server(made.record), made, before="")
        except InfraError:
            if said := self._hosts.console(request.name):
                request.say(f"the console of {request.name}:\n{said}")
            self._hosts.remove(request.name)
            raise

    def blank(self, server: Server) -> Server:
        """The same server on an empty disk, under a new epoch, proven so; raises `NotBlankError`. From any process."""
        try:
            record, ssh = self._known(server)
            key = asyncssh.import_private_key(ssh.private_key)
            order = replace(_order(record.name, key), image=record.image, layer=server.snapshot)
            made = self._hosts.rebuild(order)
            return self._proven(self._server(made.record), made, before=server.facts.get("boot", ""))
        except NotBlankError:
            raise
        except (InfraError, UsageError) as error:
            raise NotBlankError(f"{server.name}: {error}") from error

    def destroy(self, server: Server) -> None:
        """Remove a server and all that belongs to it; gone already = done. Raises `InfraError`."""
        self._hosts.remove(server.name)

    def owned(self) -> Iterable[Server]:
        """Every server of this machine that has the lab's label, half-made ones too, whichever run made it."""
        return [self._server(record) for record in self._hosts.every() if marks.is_ours(record.labels)]

    def console(self, server: Server) -> str | None:
        """The end of its console and of its journal, running or not."""
        return self._hosts.console(server.name)

    def connect(self, server: Server) -> Target:
        """Open a line; raises `InfraError`. From any process that was given the server."""
        self._known(server)
        return SshTarget(server, connect_within_s=CONNECT_WITHIN_S)

    # --- what a reaper needs ------------------------------------------------------------------------------------------

    def resources(self, kinds: Collection[str] | None = None) -> Iterable[Resource]:
        """Hosts and snapshots with the lab's label, in whatever state they are."""
        self._hosts.tidy()
        hosts = [
            _resource("server", record.name, record) for record in self._hosts.every() if marks.is_ours(record.labels)
        ]
        layers = [
            _resource("snapshot", record.name, record)
            for record in self._hosts.every_layer()
            if marks.is_ours(record.labels)
        ]
        return [found for found in (*hosts, *layers) if kinds is None or found.kind in kinds]

    def remove(self, resource: Resource) -> None:
        """Remove it for good; gone already = done. Raises `InfraError`."""
        if resource.kind == "server":
            self._hosts.remove(resource.id)
        elif resource.kind == "snapshot":
            self._hosts.remove_layer(resource.id)
        else:
            raise InfraError(f"the provider nspawn makes nothing of the kind {resource.kind!r}")

    def write_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
        """Set these of its labels, keep the others; raises `InfraError`, also when it is gone."""
        if resource.kind == "snapshot":
            self._hosts.write_layer_labels(resource.id, labels)
        else:
            self._hosts.write_labels(resource.id, labels)

    # --- snapshots ----------------------------------------------------------------------------------------------------

    def snapshot(self, server: Server, labels: Mapping[str, str]) -> str:
        """Freeze a server's disk; it goes on after a reboot. Raises `InfraError`."""
        record, _ = self._known(server)
        word = hashlib.sha256(f"{record.id} {record.epoch} {sorted(labels.items())}".encode()).hexdigest()[:8]
        layer = f"{record.name[:48]}-{word}"
        self._hosts.freeze(record.name, layer, {marks.MANAGED_BY: marks.OURS, **labels})
        self._answers(server)
        return layer

    def bare(self, request: ServerRequest) -> Mapping[str, str]:
        """The image and all that its recipe says; this machine's configuration is not part of what a server is."""
        wanted = recipe(request.image)
        return {"provider": self.name, "image": wanted.name, "recipe": wanted.digest}

    # --- on the way ---------------------------------------------------------------------------------------------------

    def _known(self, server: Server) -> tuple[HostRecord, SshAddress]:
        """A server's record, and what leads into it; raises `InfraError` when it is gone."""
        record = self._hosts.find(server.name)
        if record is None or record.id != server.facts.get("host", record.id):
            raise Gone(server.name)
        ssh = server.ssh or self._server(record).ssh
        if ssh is None:
            raise InfraError(f"{server.name} was never finished: it has no keys")
        return record, ssh

    def _server(self, record: HostRecord) -> Server:
        """A host as a server, from what is on the disk; its keys are there once it was begun in earnest."""
        key, host_key = (self._hosts.private(record.name, file) for file in ("key", "host-key"))
        ssh = SshAddress(host=record.address, port=22, user=USER, private_key=key or "", host_key=host_key or "")
        return Server(
            name=record.name,
            provider=self.name,
            epoch=record.epoch,
            ssh=ssh if key and host_key else None,
            image=record.image or None,
            snapshot=record.layer,
            isolation=ISOLATION,
            facts={"user": USER, "host": record.id, "run": record.labels.get(marks.RUN, "")},
        )

    def _answers(self, server: Server) -> dict[str, str]:
        """Wait for a host's sshd, which has to show the key that was made for it, and look at the host from inside."""
        self._wait_for_sshd(server)
        target = SshTarget(server, connect_within_s=ANSWER_WITHIN_S)
        try:
            said = target.run(_LOOK, timeout_s=LOOK_WITHIN_S).text
        finally:
            target.close()
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def _wait_for_sshd(self, server: Server) -> None:
        """Ask often, which costs nothing here; raises `InfraError` when the host ends, or its time is up."""
        assert server.ssh is not None
        started = looked = time.monotonic()
        while not _greets(server.ssh):
            if time.monotonic() - looked > _LOOK_S:
                looked = time.monotonic()
                if not self._hosts.runs(server.name):
                    raise InfraError(f"{server.name} ended before its sshd answered")
            if time.monotonic() - started > ANSWER_WITHIN_S:
                raise InfraError(f"{server.name}: no sshd answered within {ANSWER_WITHIN_S:g} s")
            time.sleep(_POLL_S)

    def _proven(self, server: Server, made: Made, before: str) -> Server:
        """The server with the proof of its blankness; raises `NotBlankError` that says what speaks against it."""
        record = made.record
        seen = self._answers(server)
        if seen.get("word") != record.word:
            raise NotBlankError(f"{server.name}: an old host answers: its epoch is {seen.get('word')!r}")
        if seen.get("machine_id") != record.machine_id:
            raise NotBlankError(f"{server.name}: its machine id is {seen.get('machine_id')!r}, and not the new one")
        boot_id = seen.get("boot_id", "")
        if not boot_id or boot_id == before:
            raise NotBlankError(f"{server.name}: its boot id {boot_id!r} is not a new one")
        if record.layer is None and seen.get("platform") != "no":
            raise NotBlankError(f"{server.name}: /var/lib/testlab is there already")
        proof = {
            "boot id": f"{before} → {boot_id}" if before else boot_id,
            "image": f"{record.image} {record.digest}" + (f" with the snapshot {record.layer}" if record.layer else ""),
            "machine id": record.machine_id,
            "host key": "made for this epoch, and shown by sshd",
            "disk": f"a new layer, with nothing in it but the {made.files} files of the lab's set-up",
            "old host": f"{made.killed} processes killed, none left" if record.epoch else "none yet",
        }
        return replace(server, proof=proof, facts={**server.facts, "boot": boot_id})


def _greets(ssh: SshAddress) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((ssh.host, ssh.port), timeout=1.0) as line:
        return line.recv(4) == b"SSH-"
    return False


def _order(name: str, key: asyncssh.SSHKey) -> Order:
    """A host with a key of its own for this epoch, which `key` may log in to."""
    host_key = _new_key()
    return Order(
        name=name,
        authorized_keys=(key.export_public_key().decode(),),
        host_key=host_key.export_private_key().decode(),
        private={
            "key": key.export_private_key().decode(),
            "host-key": host_key.export_public_key().decode().strip(),
        },
    )


def _labels(request: ServerRequest) -> dict[str, str]:
    """What says whose the host is; the request's own labels win."""
    own = {
        marks.MANAGED_BY: marks.OURS,
        marks.DISPOSABLE: "true",
        marks.RUN: request.run,
        marks.SLOT: str(request.slot),
    }
    if request.expires_at is not None:
        own[marks.EXPIRES] = marks.moment(request.expires_at)
    return own | dict(request.labels)


def _new_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


def _resource(kind: str, name: str, record: HostRecord | LayerRecord) -> Resource:
    return Resource(
        kind=kind,
        id=name,
        name=name,
        provider=NspawnProvider.name,
        labels=record.labels,
        created_at=record.made_at,
    )
