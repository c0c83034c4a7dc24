"""Where things are on a target: folders below its root, and ports from its range."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Self

from pytest_testlab.errors import InfraError
from pytest_testlab.model import CommandResult, Server
from pytest_testlab.platform.scripting import reason
from pytest_testlab.protocols import Target

DEFAULT_PORTS = "20000-20049"
APP_STRIDE = 4
"""Ports from one app's PORT to the next one's, so that an app may have a few more of its own."""
STEP_S = 30.0
"""The time of a step that takes milliseconds when all is well."""
_PORTS = re.compile(r"(\d{1,5})-(\d{1,5})")
_STANDING = re.compile(r"app ([A-Za-z0-9-]+)-([0-9a-f]{12}) (\d{1,5})?")
_SAFE = re.compile(r"/[^\"'\\$;{}`\x00-\x1f]*[^\"'\\$;{}`\x00-\x1f/]")


@dataclass(frozen=True, kw_only=True)
class Found:
    """An app that stands on a server, as its folder tells."""

    name: str
    nonce: str
    port: int | None
    """None for a static site."""

    @classmethod
    def listed(cls, result: CommandResult) -> list[Self]:
        """From the lines `app NAME-NONCE PORT` that the install prints; others, and odd ones, are left out."""
        lines = result.stdout.decode(errors="replace").splitlines()
        return [
            cls(name=match[1], nonce=match[2], port=int(match[3]) if match[3] else None)
            for match in map(_STANDING.fullmatch, lines)
            if match is not None
        ]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The platform's folders and ports on one server. Raises `InfraError` for facts that can't be used."""

    server: Server
    root: str

    def __post_init__(self) -> None:
        if not _SAFE.fullmatch(self.root):
            raise InfraError(
                f"{self.server.name}: can't work below {self.root!r}: not an absolute path, or odd letters"
            )
        if len(self.ports) < APP_STRIDE:
            raise InfraError(
                f"{self.server.name}: {len(self.ports)} ports are too few; the platform needs {APP_STRIDE}"
            )

    @cached_property
    def ports(self) -> range:
        """The server's port range."""
        text = self.server.facts.get("ports", DEFAULT_PORTS)
        match = _PORTS.fullmatch(text)
        if match is None:
            raise InfraError(f"{self.server.name}: its ports are {text!r}; expected something like {DEFAULT_PORTS!r}")
        return range(int(match[1]), int(match[2]) + 1)

    @property
    def front_port(self) -> int:
        """Where the front door listens."""
        return self.ports[0]

    @property
    def addon_port(self) -> int:
        """Where the addon postgresql listens."""
        return self.ports[1]

    def app_port(self, taken: Iterable[int]) -> int:
        """A port for an app; raises `InfraError` when every one is taken."""
        taken = set(taken)
        for port in self.ports[2::APP_STRIDE]:
            if port not in taken:
                return port
        raise InfraError(f"{self.server.name}: no port of {self.ports[0]}-{self.ports[-1]} is left for another app")

    def places(self, name: str, nonce: str) -> dict[str, str]:
        """Where a deploy's folder, its logs and its vhost are."""
        home = f"{self.root}/apps/{name}-{nonce}"
        return {"home": home, "logs": f"{home}/logs", "vhost": f"{self.front}/apps/{name}-{nonce}.conf"}

    @property
    def front(self) -> str:
        """The front door's folder."""
        return f"{self.root}/front"

    @property
    def bind(self) -> str:
        """What nginx listens on: loopback only, where the lab comes by loopback; else every address of that version."""
        host = self._address
        if host is not None and host.is_loopback:
            return self._at(host)
        return f"[::]:{self.front_port}" if host is not None and host.version == 6 else str(self.front_port)

    @property
    def front_address(self) -> str:
        """The front door as the target itself reaches it."""
        host = self._address
        if host is not None and host.is_loopback:
            return self._at(host)
        return f"[::1]:{self.front_port}" if host is not None and host.version == 6 else f"127.0.0.1:{self.front_port}"

    @property
    def _address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The address by which the lab comes; None where it has only a name for it."""
        host = self.server.ssh.host if self.server.ssh is not None else "127.0.0.1"
        try:
            return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        except ValueError:
            return None

    def _at(self, host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
        return f"[{host}]:{self.front_port}" if host.version == 6 else f"{host}:{self.front_port}"


def ask_root(target: Target) -> str:
    """Where to work on a server whose provider doesn't say: a system folder for root, else below HOME."""
    result = target.run('[ "$(id -u)" = 0 ] && echo /var/lib/testlab || echo "$HOME/testlab"', timeout_s=STEP_S)
    root = result.stdout.decode(errors="replace").strip()
    if result.exit_code != 0 or not PurePosixPath(root).is_absolute():
        raise InfraError(f"{target.server.name}: can't learn where to work: {reason(result)}")
    return root
