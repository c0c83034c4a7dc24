"""A server as the API tells of it, in plain values."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_testlab import labels

SELECTOR = f"{labels.MANAGED_BY}={labels.OURS}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """An action of the API: something that it does and that takes its time."""

    id: int
    command: str
    status: str = "running"
    """Or `success`, `error`."""
    progress: int = 0
    why: str = ""
    """Of an error: its message and code."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status != "running"


def step_of(action: Any) -> Step:
    """From hcloud's."""
    error = action.error or {}
    why = f"{error.get('message', '')} ({error.get('code', 'unknown')})" if action.status == "error" else ""
    return Step(
        id=action.id,
        command=action.command or "action",
        status=action.status or "running",
        progress=action.progress or 0,
        why=why,
    )


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A server."""

    id: int
    name: str
    status: str
    labels: Mapping[str, str]
    type: str
    location: str
    image: str = ""
    """The image's name; of a snapshot its id."""
    ipv4: str = ""
    ipv6: str = ""
    """The first address of its network."""
    private: Sequence[str] = ()
    created_at: dt.datetime | None = None
    steps: Sequence[Step] = field(default=(), compare=False)
    """What is under way since it was asked for."""


def machine_of(server: Any, actions: Iterable[Any] = ()) -> Machine:
    """From hcloud's, which asks the API again for what is missing, so that it is read here once and let go."""
    net = server.public_net
    return Machine(
        id=server.id,
        name=server.name,
        status=server.status or "unknown",
        labels=dict(server.labels or {}),
        type=server.server_type.name,
        location=server.location.name,
        image="" if server.image is None else server.image.name or str(server.image.id),
        ipv4=net.ipv4.ip if net is not None and net.ipv4 is not None else "",
        ipv6=_first(net.ipv6.ip) if net is not None and net.ipv6 is not None else "",
        private=tuple(part.ip for part in server.private_net or ()),
        created_at=server.created,
        steps=tuple(map(step_of, actions)),
    )


def _first(network: str) -> str:
    """The address that a fresh server gives itself in its network."""
    return str(next(ipaddress.ip_network(network, strict=False).hosts()))
