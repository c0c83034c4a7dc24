"""What of cloud-init's data a loopback host can follow: host keys, and who may log in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml


def read(user_data: str) -> Mapping[str, Any]:
    """The keys of a `#cloud-config`; empty for a script or for nothing."""
    if user_data.partition("\n")[0].strip() != "#cloud-config":
        return {}
    try:
        told = yaml.safe_load(user_data)
    except yaml.YAMLError:
        return {}  # the real one logs that, and goes on without
    return told if isinstance(told, dict) else {}


def host_key(told: Mapping[str, Any]) -> str | None:
    """The ed25519 key that the host is to have; None = it makes its own."""
    keys = told.get("ssh_keys")
    found = keys.get("ed25519_private") if isinstance(keys, dict) else None
    return found if isinstance(found, str) else None


def authorized(told: Mapping[str, Any], ssh_keys: Sequence[str]) -> dict[str, str]:
    """Account → its authorized_keys. Root has those of the API and those at the top."""
    who = {"root": [*ssh_keys, *_texts(told.get("ssh_authorized_keys"))]}
    users = told.get("users")
    for user in users if isinstance(users, list) else []:
        if isinstance(user, dict) and isinstance(user.get("name"), str):
            who.setdefault(user["name"], []).extend(_texts(user.get("ssh_authorized_keys")))
    return {name: "\n".join(keys) for name, keys in who.items() if keys}


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
