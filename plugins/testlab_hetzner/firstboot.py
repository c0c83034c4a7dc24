"""What a server is told for its first boot: cloud-init data with its own host key, and the key that may log in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

import asyncssh

KIND = "ssh-ed25519"
KEY = "host-key"
"""The label that tells by which call a server was made: a digest of the host key that it was given."""


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """An ed25519 key, OpenSSH text."""

    private: str = field(repr=False)
    public: str
    """Without a comment."""

    @property
    def digest(self) -> str:
        """Thirty-two hexadecimal digits of its public half."""
        return hashlib.sha256(self.public.encode()).hexdigest()[:32]


def new_key() -> KeyPair:
    """A key that nobody had before."""
    return _pair(asyncssh.generate_private_key(KIND))


def pair_of(private: str) -> KeyPair:
    """The key of that private half."""
    return _pair(asyncssh.import_private_key(private))


def _pair(key: asyncssh.SSHKey) -> KeyPair:
    public = " ".join(key.export_public_key().decode().split()[:2])
    return KeyPair(private=key.export_private_key().decode(), public=public)


def user_data(host: KeyPair, client: KeyPair) -> str:
    """The cloud-init data of a server. The host key is pinned from the first connection on, so it must come with it."""
    config = _CONFIG | {
        "ssh_keys": {"ed25519_private": host.private, "ed25519_public": host.public},
        "ssh_authorized_keys": [client.public],
    }
    return f"#cloud-config\n{json.dumps(config, indent=1)}\n"  # which is YAML as well


def digest() -> str:
    """Of all that is told to every server alike."""
    return hashlib.sha256(json.dumps(_CONFIG, sort_keys=True).encode()).hexdigest()[:16]


_CONFIG: dict[str, object] = {"disable_root": False, "ssh_pwauth": False, "ssh_deletekeys": True}
