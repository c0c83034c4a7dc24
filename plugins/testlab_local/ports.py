"""A block of ports for each target, claimed by a socket.

The target's SSH server listens on the first port of its block as long as it lives. The kernel gives a port to one
process only, of whatever user, and takes it back when that process dies: so the socket is the claim, and there is no
lock file that another user could tamper with or that a killed run could leave behind.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path

BLOCK = 20
"""Ports in a block: the SSH server's, and those after it for the apps."""
LOWEST = 20_000
HIGHEST = 65_535
_LISTEN = b"0A"


class NoPortsLeft(Exception):
    """No block is free."""


def claim() -> tuple[socket.socket, range]:
    """A socket that listens on loopback at the first port of a free block, and the ports after it.

    Blocks are tried in a random order, so that sessions that start together don't meet. Raises `NoPortsLeft`.
    """
    bases = list(_bases(*ephemeral()))
    random.SystemRandom().shuffle(bases)  # what is seeded for the tests' sake (pytest-randomly) meets its own kind
    for base in bases:
        listener = _listen(base)
        if listener is not None:
            ports = range(base + 1, base + BLOCK)
            if not listening(ports):
                return listener, ports
            listener.close()
    raise NoPortsLeft(f"none of the {len(bases)} blocks of {BLOCK} ports from {LOWEST} on is free")


def ephemeral() -> tuple[int, int]:
    """The first and last port that the kernel itself hands out, to stay clear of."""
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return int(low), int(high)


def listening(ports: range) -> list[int]:
    """Those of the ports on which something listens, on any address of this machine."""
    found = {port for table in ("tcp", "tcp6") for port in _listeners(Path("/proc/net", table))}
    return sorted(found & set(ports))


def _bases(low: int, high: int) -> Iterator[int]:
    for base in range(LOWEST, HIGHEST - BLOCK, BLOCK):
        if base + BLOCK <= low or base > high:
            yield base


def _listen(port: int) -> socket.socket | None:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
    except OSError:
        listener.close()
        return None
    return listener


def _listeners(table: Path) -> Iterator[int]:
    if table.exists():
        for line in table.read_bytes().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN:
                yield int(fields[1].rpartition(b":")[2], 16)
