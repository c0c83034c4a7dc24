"""Servers as plain values, for the line between controller and worker; in memory only, as they hold keys."""

from __future__ import annotations

import dataclasses
from typing import Any

from pytest_testlab.model import Server, SshAddress


def server_to_wire(server: Server) -> dict[str, Any]:
    """A server as builtins."""
    return dataclasses.asdict(server)


def server_from_wire(wire: dict[str, Any]) -> Server:
    """What `server_to_wire` made."""
    return Server(**{**wire, "ssh": _address(wire["ssh"])})


def _address(wire: dict[str, Any] | None) -> SshAddress | None:
    return None if wire is None else SshAddress(**{**wire, "jump": _address(wire["jump"])})
