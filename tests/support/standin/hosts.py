"""The machines behind the servers: what the stand-in needs of them, and the ones that aren't there at all."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a host is made from."""

    id: int
    name: str
    image: str
    """`debian-12`; of a snapshot, what it was taken of."""
    snapshot: int | None
    """The snapshot whose disk it starts with."""
    addresses: Sequence[str]
    """IPv4, public and private."""
    user_data: str
    ssh_keys: Sequence[str]
    """Public keys that may log in as root besides those in `user_data`."""
    cloud_init_s: float
    """How long its cloud-init takes, in our seconds, where it is played."""
    late_s: float = 0.0
    """How much later its sshd comes."""
    other_key_s: float = 0.0
    """For how long its sshd shows another key than it was given."""


class HostFailed(Exception):
    """A host can't be made or started."""


class Hosts(Protocol):
    """A kind of machines. Servers are known by their id, snapshots by theirs. Called from many threads at once."""

    ssh_port: int
    """Where every sshd of theirs listens."""

    def new_address(self) -> str:
        """An IPv4 that no other host has."""
        ...

    def free_address(self, address: str) -> None:
        """Nobody needs it any more."""
        ...

    def make(self, spec: Spec) -> None:
        """A new disk, in place of the one that there was; not started. Raises `HostFailed`."""
        ...

    def start(self, server: int) -> None:
        """Switch on: on a new disk its cloud-init runs. Returns before that is done. Raises `HostFailed`."""
        ...

    def stop(self, server: int) -> None:
        """Switch off; off already = done."""
        ...

    def remove(self, server: int) -> None:
        """The host with its disk; gone already = done."""
        ...

    def snapshot(self, server: int, snapshot: int) -> None:
        """Keep the disk as it is now. Raises `HostFailed`."""
        ...

    def forget(self, snapshot: int) -> None:
        """Remove what was kept; gone already = done."""
        ...

    def left(self) -> list[str]:
        """What is there of hosts and snapshots, each in a word."""
        ...

    def close(self) -> None:
        """End everything and leave nothing."""
        ...


class NoHosts:
    """Servers that only the API knows."""

    ssh_port = 22

    def __init__(self) -> None:
        self._addresses = itertools.count(int(ipaddress.IPv4Address("198.18.0.1")))
        self._there: set[str] = set()

    def new_address(self) -> str:
        """One of those set aside for benchmarks: nobody is there."""
        return str(ipaddress.IPv4Address(next(self._addresses)))

    def free_address(self, address: str) -> None:
        """Addresses never come back here."""

    def make(self, spec: Spec) -> None:
        """Remember that it is there."""
        self._there.add(f"server-{spec.id}")

    def start(self, server: int) -> None:
        """Nothing starts."""

    def stop(self, server: int) -> None:
        """Nothing stops."""

    def remove(self, server: int) -> None:
        """Forget that it was there."""
        self._there.discard(f"server-{server}")

    def snapshot(self, server: int, snapshot: int) -> None:
        """Remember that it is there."""
        self._there.add(f"snapshot-{snapshot}")

    def forget(self, snapshot: int) -> None:
        """Forget that it was there."""
        self._there.discard(f"snapshot-{snapshot}")

    def left(self) -> list[str]:
        """What was made and not removed."""
        return sorted(self._there)

    def close(self) -> None:
        """There is nothing to end."""
        self._there.clear()
