"""What people write of SSH servers: USER@HOST, and files of known host keys."""

from __future__ import annotations

import re
from pathlib import Path

import asyncssh

from pytest_testlab.errors import UsageError

_LOGIN = re.compile(
    r"(?P<user>[A-Za-z_][A-Za-z0-9_.-]{0,31})@"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?|\[[0-9a-fA-F:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
)
_BEST_FIRST = ("ssh-ed25519", "ecdsa-", "ssh-rsa")


def read_login(text: str) -> tuple[str, str, int]:
    """User, host and port of `USER@HOST` or `USER@HOST:PORT`, an IPv6 address in brackets; raises `UsageError`."""
    found = _LOGIN.fullmatch(text)
    port = int(found["port"] or 22) if found is not None else 0
    if found is None or not 1 <= port <= 65535:
        raise UsageError(f'"{text}" is not how one logs in; expected USER@HOST or USER@HOST:PORT')
    return found["user"], found["host"].strip("[]"), port


def known_key(file: Path, host: str, port: int) -> str:
    """A server's public key out of a `known_hosts` file, OpenSSH text: its best kind, to be pinned.

    Hashed names, patterns and `@revoked` are honoured; certificate authorities are not used. Raises `UsageError`.
    """
    try:
        matched = asyncssh.read_known_hosts(str(file)).match(host, "", None if port == 22 else port)
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}") from None
    except (ValueError, asyncssh.Error) as error:
        raise UsageError(f"{file} is no known_hosts file: {error}") from None
    keys = {key.export_public_key().decode().strip() for key in matched[0] if key not in matched[2]}
    for kind in _BEST_FIRST:
        for key in sorted(keys):
            if key.startswith(kind):
                return " ".join(key.split()[:2])
    name = host if port == 22 else f"[{host}]:{port}"
    raise UsageError(f"{file} has no key of {name}; type: ssh-keyscan {'' if port == 22 else f'-p {port} '}{host}")
