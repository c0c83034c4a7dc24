"""Hosts of systemd-nspawn: made, made anew, stopped, started, frozen into layers, listed and removed, by any process.

All that is known of them is on the disk and on the machine. A host's record is there before anything else of it and
goes last, so that whoever dies in between leaves what anybody else can find and remove. One host is one caller's at a
time; different ones are worked on at once.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from pytest_testlab.errors import InfraError, UsageError
from testlab_nspawn import cgroups, container, images, network, records
from testlab_nspawn import places as files
from testlab_nspawn.commands import call, check_machine
from testlab_nspawn.recipes import RECIPES, recipe
from testlab_nspawn.records import HostRecord, LayerRecord

TURN_WITHIN_S = 120.0
STOP_WITHIN_S = 20.0
_Say = Callable[[str], object]
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _told(work: Callable[_P, _T]) -> Callable[_P, _T]:
    """What the machine refuses (a full disk, say) is an `InfraError` to whoever asked."""

    @functools.wraps(work)
    def wrapped(*arguments: _P.args, **words: _P.kwargs) -> _T:
        try:
            return work(*arguments, **words)
        except OSError as error:
            raise InfraError(f"{work.__name__} a host of nspawn: {error}") from error

    return wrapped


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a host is to be. `user_data` is for images with cloud-init, the keys are for the others, or for both."""

    name: str
    image: str | None = None
    """Such as `debian-13`, or `debian-13-cloud`, which has cloud-init; None = `debian-12`."""
    layer: str | None = None
    """The golden snapshot to start from; its own image counts then."""
    labels: Mapping[str, str] = field(default_factory=dict)
    authorized_keys: tuple[str, ...] = ()
    """Who may log in as root: lines of OpenSSH."""
    host_key: str | None = field(default=None, repr=False)
    """Of its sshd: an ed25519 private key as OpenSSH writes it. The public one follows from it."""
    user_data: str | None = field(default=None, repr=False)
    """What cloud-init reads at first boot."""
    private: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Files to keep beside its record, closed to everybody but root: name → text."""
    address: str | None = None
    """What a new host is to have of this folder's network; None = whatever is free."""
    boot: bool = True


@dataclass(frozen=True, kw_only=True)
class Made:
    """A host that was made, or made anew."""

    record: HostRecord
    killed: int = 0
    """Processes of the old host, all gone before the new one was started."""
    files: int = 0
    """How many the lab put on its disk, which held nothing else."""


class Hosts:
    """The hosts of one folder of this machine, `/var/lib/testlab/nspawn` unless another is named.

    Raises `UsageError` where the machine can't have any.
    """

    def __init__(self, base: Path | None = None) -> None:
        check_machine()
        self.places = files.prepare(base)

    # --- hosts --------------------------------------------------------------------------------------------------------

    @_told
    def make(self, order: Order, say: _Say = lambda _text: None) -> Made:
        """A new host; one of that name that there is goes first. Raises `InfraError`, `UsageError` for a bad order.

        Returns when its PID 1 runs; its sshd answers some moments later.
        """
        self.remove(order.name)
        stack = self._stack(order, say)
        with self._enrolled(order, stack) as (folder, record, net):
            count = self._furnish(folder, record, order)
            if order.boot:
                container.start(folder, record, net.bridge)
        return Made(record=record, files=count)

    @_told
    def rebuild(self, order: Order, say: _Say = lambda _text: None) -> Made:
        """The host of that name made anew, under the next epoch, with the address that it has; labels stay.

        Raises `InfraError`, also when there is no such host.
        """
        stack = self._stack(order, say)
        with self._turn(order.name) as (folder, old):
            record = replace(_stacked(old, stack), epoch=old.epoch + 1, machine_id=uuid.uuid4().hex, word=_word())
            killed = container.clear(folder, old)
            scrap = folder / f"old-{_word()}"
            if (folder / "upper").exists():
                (folder / "upper").rename(scrap)
            (folder / "console.log").unlink(missing_ok=True)
            records.write_host(folder, record)
            count = self._furnish(folder, record, order)
            net = self._network(record)
            if order.boot:
                container.start(folder, record, net.bridge)
            for left in folder.glob("old-*"):
                files.remove(left)
        self._sweep_layers()
        return Made(record=record, killed=killed, files=count)

    @_told
    def start(self, name: str) -> HostRecord:
        """Start a host that was stopped, on the disk that it has; already running = done. Raises `InfraError`."""
        with self._turn(name) as (folder, record):
            if cgroups.init(record.unit) is None:
                container.clear(folder, record)
                container.start(folder, record, self._network(record).bridge)
        return record

    @_told
    def stop(self, name: str, within_s: float = STOP_WITHIN_S) -> bool:
        """Have a host power off, or take it off after `within_s` seconds; its disk stays. Returns whether it obeyed."""
        with self._turn(name) as (folder, record):
            obeyed = container.stop(record, within_s)
            container.clear(folder, record)
        return obeyed

    @_told
    def power_off(self, name: str) -> None:
        """Take a host's power away at once; its disk stays. Raises `InfraError`."""
        with self._turn(name) as (folder, record):
            container.clear(folder, record)

    @_told
    def remove(self, name: str) -> None:
        """Remove a host and all that belongs to it, in whatever state it is; gone already = done. Raises `InfraError`.

        With the last one goes the network that all share.
        """
        try:
            with self._turn(name) as (folder, record):
                container.clear(folder, record)
                for path in folder.iterdir():
                    if path.name != "host.json":
                        files.remove(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                self._strike(folder)
        except LookupError:
            self._end_network()
        self._sweep_layers()

    @_told
    def tidy(self) -> None:
        """Remove what belongs to no host and no snapshot: what those left who were killed at making or removing one."""
        self._end_network()
        self._sweep_layers()
        with network.machine_lock():
            stacks: list[HostRecord | LayerRecord] = [*self.every(), *records.every_layer(self.places)]
            images.sweep(self.places, {Path(path) for record in stacks for path in record.lower})

    @_told
    def write_labels(self, name: str, labels: Mapping[str, str]) -> None:
        """Set these of a host's labels, and keep the others; raises `InfraError`, also when it is gone."""
        with self._turn(name) as (folder, record):
            records.write_host(folder, replace(record, labels={**record.labels, **labels}))

    def find(self, name: str) -> HostRecord | None:
        """A host's record; None when there is no such host."""
        return records.read_host(self.places.host(name))

    def every(self) -> list[HostRecord]:
        """All hosts, those that were only begun too."""
        return list(records.every_host(self.places))

    def runs(self, name: str) -> bool:
        """Whether a host's PID 1 does."""
        record = self.find(name)
        return record is not None and cgroups.init(record.unit) is not None

    def console(self, name: str) -> str | None:
        """The end of what a host has said on its console and in its journal; None when there is no such host."""
        folder = self.places.host(name)
        record = records.read_host(folder)
        return None if record is None else container.console(folder, record)

    def private(self, name: str, file: str) -> str | None:
        """What was kept beside a host's record under this name."""
        with contextlib.suppress(OSError):
            return (self.places.host(name) / f"private-{file}").read_text()
        return None

    # --- layers -------------------------------------------------------------------------------------------------------

    @_told
    def freeze(self, name: str, layer: str, labels: Mapping[str, str]) -> LayerRecord:
        """Make a golden snapshot of a host's disk, without what identifies it. The host goes on after a reboot.

        Raises `InfraError`. One of that name that there is goes first.
        """
        self.remove_layer(layer)
        with self._turn(name) as (folder, host):
            container.stop(host, STOP_WITHIN_S)
            container.clear(folder, host)
            record = LayerRecord(
                name=layer, image=host.image, digest=host.digest, lower=host.lower, labels=labels, made=records.now()
            )
            place = self.places.layer(layer)
            self._begin_layer(place, record)
            identity = _identity(folder / "upper")
            (folder / "upper").rename(place / "upper")
            container.forget_identity(place / "upper")
            call("sync", "-f", str(place), within_s=120)
            records.write_layer(place, replace(record, whole=True))
            stacked = replace(host, lower=(str(place / "upper"), *host.lower))
            records.write_host(folder, stacked)
            container.furnish(folder, identity)
            container.start(folder, stacked, self._network(stacked).bridge)
        return replace(record, whole=True)

    @_told
    def remove_layer(self, name: str) -> None:
        """Give a snapshot up; gone already = done. Its files go with the last host that stands on it."""
        place = self.places.layer(name)
        with network.machine_lock():
            record = records.read_layer(place)
            if record is not None:
                records.write_layer(place, replace(record, removed=True))
        self._sweep_layers()

    @_told
    def write_layer_labels(self, name: str, labels: Mapping[str, str]) -> None:
        """Set these of a snapshot's labels, and keep the others; raises `InfraError`, also when it is gone."""
        place = self.places.layer(name)
        with network.machine_lock():
            record = records.read_layer(place)
            if record is None or record.removed:
                raise InfraError(f"there is no snapshot {name}")
            records.write_layer(place, replace(record, labels={**record.labels, **labels}))

    def every_layer(self) -> list[LayerRecord]:
        """All snapshots, those that were only begun too; not those that were given up."""
        return [record for record in records.every_layer(self.places) if not record.removed]

    # --- on the way ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _turn(self, name: str) -> Iterator[tuple[Path, HostRecord]]:
        """Alone with a host; raises `Gone` when there is none, `InfraError` when somebody is at it for too long."""
        folder = self.places.host(name)
        try:
            with files.locked(folder, TURN_WITHIN_S, doing=f"working on {name}"):
                record = records.read_host(folder)
                if record is None:
                    raise Gone(name)
                yield folder, record
        except FileNotFoundError as error:
            if Path(error.filename or "") != folder:
                raise
            raise Gone(name) from None

    @contextlib.contextmanager
    def _enrolled(self, order: Order, stack: _Stack) -> Iterator[tuple[Path, HostRecord, network.Network]]:
        """Write a new host's record, before anything else of it, and be alone with it from then on."""
        folder = self.places.host(order.name)
        draft = self.places.hosts / f".new-{_word()}"
        with contextlib.ExitStack() as held:
            with network.machine_lock():
                self._sweep_drafts()
                stack.check()
                net = network.choose(self.places.base)
                taken = [record.address for record in self.every()]
                record = _stacked(
                    HostRecord(
                        name=order.name,
                        id=_word(),
                        image="",
                        digest="",
                        labels=dict(order.labels),
                        address=_address(order, net, taken),
                        gateway=net.gateway,
                        machine_id=uuid.uuid4().hex,
                        word=_word(),
                        made=records.now(),
                    ),
                    stack,
                )
                draft.mkdir(mode=0o700)
                records.write_host(draft, record)
                held.enter_context(files.locked(draft, TURN_WITHIN_S, doing=f"making {order.name}"))
                try:
                    draft.rename(folder)  # and the lock with it, so that nobody gets at it before
                except OSError as error:
                    raise InfraError(f"{order.name}: somebody else makes it just now: {error.strerror}") from None
                network.up(self.places.base, net)
            yield folder, record, net

    def _network(self, record: HostRecord) -> network.Network:
        """The network of a host that there is, set up again if the machine was restarted meanwhile."""
        with network.machine_lock():
            net = network.choose(self.places.base)
            if net.gateway != record.gateway:
                raise InfraError(f"{record.name}: its address {record.address} is in a network that others use by now")
            network.up(self.places.base, net)
        return net

    def _strike(self, folder: Path) -> None:
        """Take a host off the list, with the network before it if it is the last; its disk is gone already."""
        with network.machine_lock():
            if {record.name for record in self.every()} <= {folder.name}:
                network.down(self.places.base)
            scrap = self.places.hosts / f".gone-{_word()}"
            folder.rename(scrap)
            files.remove(scrap)
            self._sweep_drafts()

    def _end_network(self) -> None:
        with network.machine_lock():
            self._sweep_drafts()
            if not self.every():
                network.down(self.places.base)

    def _sweep_drafts(self) -> None:
        """Those who make and remove these hold the lock that the caller has now: so nobody does."""
        for pattern in (".new-*", ".gone-*"):
            for left in self.places.hosts.glob(pattern):
                files.remove(left)

    def _stack(self, order: Order, say: _Say) -> _Stack:
        if order.layer is None:
            return self._bare(order, say)
        record = records.read_layer(self.places.layer(order.layer))
        if record is None or record.removed or not record.whole:
            raise InfraError(f"there is no snapshot {order.layer}")
        lower = (str(self.places.layer(order.layer) / "upper"), *self._below(record))
        return _Stack(image=record.image, digest=record.digest, layer=order.layer, lower=lower)

    def _below(self, record: LayerRecord) -> tuple[str, ...]:
        """What a snapshot stands on, with this machine's configuration as it is now, where its image is still made."""
        made_of = RECIPES.get(record.image)
        image = images.find(self.places, made_of) if made_of is not None else None
        if image is None or image.digest != record.digest:
            return record.lower
        layers = [path for path in record.lower if Path(path).is_relative_to(self.places.layers)]
        return (*layers, *map(str, images.configured(self.places, image)))

    def _bare(self, order: Order, say: _Say) -> _Stack:
        wanted = recipe(order.image)
        if order.user_data is not None and wanted.base is None:
            raise UsageError(f"the image {wanted.name} has no cloud-init to read user data; {wanted.name}-cloud has")
        image = images.prepare(self.places, wanted, say)
        lower = images.configured(self.places, image)
        return _Stack(image=image.name, digest=image.digest, layer=None, lower=tuple(map(str, lower)))

    def _furnish(self, folder: Path, record: HostRecord, order: Order) -> int:
        for name, text in order.private.items():
            handle = os.open(folder / f"private-{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as out:
                out.write(text)
        content = _first_files(record, order)
        container.furnish(folder, content)
        return len(content)

    def _begin_layer(self, place: Path, record: LayerRecord) -> None:
        draft = self.places.layers / f".new-{_word()}"
        with network.machine_lock():
            for left in self.places.layers.glob(".new-*"):
                files.remove(left)
            draft.mkdir(mode=0o700)
            records.write_layer(draft, record)
            try:
                draft.rename(place)
            except OSError as error:
                raise InfraError(f"the snapshot {record.name} is in use: {error.strerror}") from None

    def _sweep_layers(self) -> None:
        """Remove the files of snapshots that were given up and that no host, and no other snapshot, stands on."""
        with network.machine_lock():
            every = list(records.every_layer(self.places))
            used = {path for host in self.every() for path in host.lower}
            used |= {path for layer in every if not layer.removed for path in layer.lower}
            for layer in every:
                place = self.places.layer(layer.name)
                if layer.removed and str(place / "upper") not in used:
                    files.remove(place / "upper")
                    files.remove(place)


class Gone(InfraError, LookupError):
    """There is no such host."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no host {name}")


@dataclass(frozen=True, kw_only=True)
class _Stack:
    """What a host stands on."""

    image: str
    digest: str
    layer: str | None
    lower: tuple[str, ...]

    def check(self) -> None:
        if gone := [path for path in self.lower if not Path(path).is_dir()]:
            raise InfraError(f"{gone[0]}, which the host was to stand on, is gone")


def _stacked(record: HostRecord, stack: _Stack) -> HostRecord:
    return replace(record, image=stack.image, digest=stack.digest, layer=stack.layer, lower=stack.lower)


def _address(order: Order, net: network.Network, taken: Sequence[str]) -> str:
    if order.address is None:
        return net.free(taken)
    if order.address in taken or ipaddress.IPv4Address(order.address) not in net.subnet:
        raise InfraError(f"{order.name}: the address {order.address} isn't free in {net.subnet}")
    return order.address


def _word() -> str:
    return secrets.token_hex(4)


def _first_files(record: HostRecord, order: Order) -> dict[str, tuple[bytes, int]]:
    """What is on a new host's disk beside what it stands on."""
    texts: dict[str, tuple[str, int]] = {
        "etc/machine-id": (record.machine_id + "\n", 0o444),
        "etc/hostname": (record.name + "\n", 0o644),
        "etc/hosts": (f"127.0.0.1 localhost\n127.0.1.1 {record.name}\n::1 localhost ip6-localhost\n", 0o644),
        "etc/testlab-epoch": (record.word + "\n", 0o644),
    }
    if order.authorized_keys:
        texts["root/.ssh/authorized_keys"] = ("".join(f"{key.strip()}\n" for key in order.authorized_keys), 0o600)
    if order.host_key is not None:
        texts["etc/ssh/ssh_host_ed25519_key"] = (order.host_key, 0o600)
    if order.user_data is not None:
        seed = "var/lib/cloud/seed/nocloud"
        texts[f"{seed}/user-data"] = (order.user_data, 0o600)
        texts[f"{seed}/meta-data"] = (f"instance-id: {record.word}\nlocal-hostname: {record.name}\n", 0o600)
    return {name: (text.encode(), mode) for name, (text, mode) in texts.items()}


def _identity(upper: Path) -> dict[str, tuple[bytes, int]]:
    """What a host keeps of itself when its disk becomes a snapshot."""
    kept = {}
    names = ("etc/machine-id", "etc/hostname", "etc/hosts", "etc/testlab-epoch", "etc/ssh/ssh_host_ed25519_key")
    for name in (*names, "root/.ssh/authorized_keys"):
        if not container.is_plain((upper / name).parent, upper):
            continue
        with contextlib.suppress(OSError):
            handle = os.open(upper / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                kept[name] = (file.read(1_000_000), os.fstat(handle).st_mode & 0o777)
    return kept
