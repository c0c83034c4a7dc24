"""Hosts of systemd-nspawn: a whole Debian each, with its own cloud-init, for root on Linux.

They are in a folder of their own with the machine's images (`make images`). It goes with the stand-in; what one that
was killed left is removed by the next.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostyard
import yaml
from testlab_local import processes
from testlab_nspawn import cgroups, network, places
from testlab_nspawn.hosts import Hosts, Order

from pytest_testlab.errors import TestlabError
from standin.hosts import HostFailed, Spec

PARENT = Path("/var/tmp")
NAME = "tl-standin-"
OURS = slice(100, 250)
"""Of a network's addresses; those before are handed out by the hosts themselves."""
VENDOR_DATA = "#cloud-config\ndisable_root: false\n"
"""As the cloud's images have it."""


class NspawnHosts:
    """Everything of a server is real but the time it takes: cloud-init is Debian's own and takes what it takes.

    Their sshd can come late (they are started late), and can't show another key; they have no second address.
    """

    ssh_port = 22

    def __init__(self) -> None:
        """Raises `UsageError` where this machine can't have such hosts."""
        remove_orphans()
        self._base = PARENT / f"{NAME}{os.getpid()}-{secrets.token_hex(4)}"
        hostyard.make(self._base)
        self._hosts = Hosts(self._base)
        self._specs: dict[int, Spec] = {}
        self._taken: set[str] = set()
        self._late: dict[int, threading.Timer] = {}
        self._lock = threading.Lock()

    def new_address(self) -> str:
        """One of this folder's network; raises `HostFailed`."""
        with _told(), self._lock, network.machine_lock():
            subnet = network.choose(self._base).subnet
            for address in map(str, list(subnet.hosts())[OURS]):
                if address not in self._taken:
                    self._taken.add(address)
                    return address
        raise HostFailed("no address is free")

    def free_address(self, address: str) -> None:
        """Another host may have it."""
        with self._lock:
            self._taken.discard(address)

    def make(self, spec: Spec) -> None:
        """A new disk; the first address is the host's, also when it is made anew."""
        if spec.other_key_s:
            raise HostFailed("a host of nspawn shows no other key")
        if len(spec.addresses) != 1:
            raise HostFailed("a host of nspawn has one address, no more and no less")
        order = Order(
            name=spec.name,
            image=f"{spec.image}-cloud",
            layer=None if spec.snapshot is None else _layer(spec.snapshot),
            user_data=spec.user_data or "#cloud-config\n",
            address=spec.addresses[0],
            boot=False,
        )
        known = self._specs.get(spec.id)
        with _told():
            if known is None:
                self._hosts.make(order)
            else:
                self._hosts.rebuild(order)
            self._specs[spec.id] = spec
            self._tell(spec)

    def _tell(self, spec: Spec) -> None:
        """What the cloud tells a server's cloud-init besides its user's data."""
        seed = self._hosts.places.host(spec.name) / "upper/var/lib/cloud/seed/nocloud"
        meta: dict[str, Any] = yaml.safe_load((seed / "meta-data").read_text())
        meta["public-keys"] = list(spec.ssh_keys)
        (seed / "meta-data").write_text(yaml.safe_dump(meta))
        (seed / "vendor-data").write_text(VENDOR_DATA)

    def start(self, server: int) -> None:
        """Returns as soon as its PID 1 runs; its cloud-init brings the keys, and sshd."""
        spec = self._specs[server]
        if spec.late_s:
            late = self._late[server] = threading.Timer(spec.late_s, self._start_late, [spec])
            late.daemon = True
            late.start()
            return
        with _told():
            self._hosts.start(spec.name)

    def _start_late(self, spec: Spec) -> None:
        with contextlib.suppress(TestlabError):  # it is gone by now, and nobody waits for it
            self._hosts.start(spec.name)

    def stop(self, server: int) -> None:
        """Take the power away."""
        self._cancel(server)
        if server in self._specs:
            with _told():
                self._hosts.power_off(self._specs[server].name)

    def remove(self, server: int) -> None:
        """With its disk, namespace, group and mounts."""
        self._cancel(server)
        spec = self._specs.pop(server, None)
        if spec is not None:
            with _told():
                self._hosts.remove(spec.name)

    def snapshot(self, server: int, snapshot: int) -> None:
        """Freeze the disk; a host that was off is off again afterwards."""
        name = self._specs[server].name
        with _told():
            ran = self._hosts.runs(name)
            self._hosts.freeze(name, _layer(snapshot), {})
            if not ran:
                self._hosts.power_off(name)

    def forget(self, snapshot: int) -> None:
        """Its files go with the last host that stands on it."""
        with _told():
            self._hosts.remove_layer(_layer(snapshot))

    def left(self) -> list[str]:
        """Hosts and snapshots, and what the machine holds of them."""
        return hostyard.on_disk(self._base) + hostyard.traces(self._base, hostyard.units(self._base))

    def pids(self) -> set[int]:
        """All processes of all hosts, and what runs them."""
        return {pid for record in self._hosts.every() for pid in cgroups.processes(record.unit)}

    def close(self) -> None:
        """Remove everything, and the folder."""
        for server in list(self._specs):
            self.remove(server)
        _remove(self._base)

    def _cancel(self, server: int) -> None:
        late = self._late.pop(server, None)
        if late is not None:
            late.cancel()
            late.join()


def remove_orphans() -> None:
    """Remove what stand-ins left that were killed."""
    for base in PARENT.glob(f"{NAME}*"):
        pid = base.name.removeprefix(NAME).partition("-")[0]
        if base.lstat().st_uid == 0 and pid.isdecimal() and processes.look_up(int(pid)) is None:
            _remove(base)


def _remove(base: Path) -> None:
    hosts = Hosts(base)
    for host in hosts.every():
        hosts.remove(host.name)
    for layer in hosts.every_layer():
        hosts.remove_layer(layer.name)
    hosts.tidy()
    for link in (base / "images", base / "machine"):
        if link.is_symlink():
            link.unlink()
    places.remove(base)


def _layer(snapshot: int) -> str:
    return f"snapshot-{snapshot}"


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What hosts raise, as the stand-in knows it."""
    try:
        yield
    except TestlabError as error:
        raise HostFailed(str(error)) from error
