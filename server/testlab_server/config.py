"""What a report server is started with."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from pytest_testlab.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Where a server listens, by which names it may be called, and where it keeps its own few files."""

    home: Path
    """The lab's home; the server's files go to `server/` below it."""
    host: str = "127.0.0.1"
    port: int = 8410
    url: str | None = None
    """The address that users type when a proxy stands before the server; None = `http://host:port`."""

    @property
    def folder(self) -> Path:
        """The folder of the server's own files: its secret, and the ids of spent login links."""
        return self.home / "server"

    @property
    def origin(self) -> str:
        """Scheme, host and port as users see them, without a slash at the end."""
        if self.url is not None:
            return self.url.rstrip("/")
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104 - compared, not bound
        return f"http://{_bracketed('::1' if host == '::' else host)}:{self.port}"

    @property
    def secure(self) -> bool:
        """Whether users come by https, so that cookies may be kept to it."""
        return self.origin.startswith("https://")

    @property
    def cookie(self) -> str:
        """The session cookie's name. Cookies ignore ports, so two servers of one host need two names."""
        return f"testlab_{self.port}"


def checked_url(text: str) -> str:
    """A public address `http[s]://name[:port]`; raises `UsageError` on anything else."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise UsageError(f"--url: {text!r} is not an address; allowed: http[s]://name[:port]")
    return text.rstrip("/")


def trusted_hosts(config: ServerConfig) -> frozenset[str]:
    """The host names that a request may call the server by; any other hints at DNS rebinding.

    A server bound to one address answers to that address; on loopback to its three names; bound to every address, to
    all that this machine's interfaces have, and to the machine's own names.
    """
    names = {config.host.lower(), urlsplit(config.origin).hostname or ""}
    if is_loopback(config.host) or config.host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        names |= {"127.0.0.1", "localhost", "::1"}
    if config.host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        names |= {socket.gethostname().lower(), socket.getfqdn().lower(), *_own_addresses()}
    return frozenset(names - {"", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def _own_addresses() -> set[str]:
    families = (socket.AF_INET, socket.AF_INET6)
    found = (address for addresses in psutil.net_if_addrs().values() for address in addresses)
    return {address.address.partition("%")[0] for address in found if address.family in families}


def is_loopback(host: str) -> bool:
    """Whether a host, as given to `--host`, is this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
