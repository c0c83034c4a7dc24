"""What the settings and the environment say about the cloud; whatever can't be used is refused in one line."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncssh

from pytest_testlab.catalog.secrets import SecretSource
from pytest_testlab.errors import UsageError
from pytest_testlab.model import SshAddress
from pytest_testlab.options import Settings
from pytest_testlab.target.written import known_key, read_login
from testlab_hetzner import TOKEN

ENDPOINT = "HCLOUD_ENDPOINT"
PUBLIC = "https://api.hetzner.cloud/v1"
SSH_PORT = "TESTLAB_HETZNER_SSH_PORT"
"""Where sshd listens on the servers of an endpoint that isn't Hetzner's."""
FILE = "hcloud-token"
JUMP_KEY = "jump-host-key"
JUMP_KNOWN = "jump-host-known-hosts"
TYPES = "cx23,cpx11"
LOCATIONS = "fsn1,nbg1,hel1"
IMAGE = "debian-12"
_WORD = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What servers to ask for, and of whom."""

    endpoint: str
    types: tuple[str, ...]
    locations: tuple[str, ...]
    network: str | None
    """The name or id of a private network."""
    jump: SshAddress | None
    """The way to servers without a public IPv4 address; None = they have one."""
    ssh_port: int


def wishes(settings: Settings, environ: Mapping[str, str] = os.environ) -> Wishes:
    """What is wished for; raises `UsageError`."""
    return Wishes(
        endpoint=_endpoint(environ.get(ENDPOINT) or PUBLIC),
        types=_words("--testlab-server-type", settings.server_type or TYPES),
        locations=_words("--testlab-location", settings.location or LOCATIONS),
        network=settings.network,
        jump=_jump(settings),
        ssh_port=_port(environ.get(SSH_PORT)),
    )


def token(settings: Settings) -> str:
    """What lets us in; raises `UsageError` that says where to put it, and never shows it."""
    value = settings.credentials.get(TOKEN) or _from_file(settings)
    if not value:
        raise UsageError(
            f"the provider hetzner needs a token: make one with read and write, in a project of the lab's own, "
            f"and set {TOKEN}, or put it into the file {FILE} in the folder testlab_secrets_dir"
        )
    if not re.fullmatch(r"[!-~]{8,}", value):
        raise UsageError(f"{TOKEN} can't be a token: it has less than 8 characters, or some that no token has")
    return value


def _from_file(settings: Settings) -> str:
    folder = None if settings.secrets_dir is None else Path(settings.secrets_dir)
    if folder is None or not (folder / FILE).exists():
        return ""
    return SecretSource(folder=folder)(FILE).strip()


def _jump(settings: Settings) -> SshAddress | None:
    """The jump host; its own key is pinned as well."""
    if settings.jump_host is None:
        return None
    try:
        user, host, port = read_login(settings.jump_host)
    except UsageError as error:
        raise UsageError(f"testlab_jump_host: {error}") from None
    folder = None if settings.secrets_dir is None else Path(settings.secrets_dir)
    for name, what in ((JUMP_KEY, "the private key that logs in there"), (JUMP_KNOWN, f"a line of ssh-keyscan {host}")):
        if folder is None or not (folder / name).is_file():
            where = "testlab_secrets_dir (not set)" if folder is None else str(folder)
            raise UsageError(f"testlab_jump_host needs the file {name} in the folder {where}: {what}")
    assert folder is not None
    private = SecretSource(folder=folder)(JUMP_KEY)
    try:
        asyncssh.import_private_key(private)
    except (ValueError, asyncssh.Error):
        raise UsageError(f"{folder / JUMP_KEY} is no private key without a passphrase") from None
    return SshAddress(
        host=host, port=port, user=user, private_key=private, host_key=known_key(folder / JUMP_KNOWN, host, port)
    )


def _endpoint(text: str) -> str:
    """An address without what is at its end by mistake. The token is never sent where everybody could read it."""
    text = text.rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise UsageError(f"{ENDPOINT} is {text!r}; expected an address such as {PUBLIC}")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise UsageError(f"{ENDPOINT} is {text!r}, which would send the token in clear: it must begin with https://")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _words(where: str, text: str) -> tuple[str, ...]:
    words = tuple(part.strip() for part in text.split(",") if part.strip())
    for word in words or (text,):
        if not _WORD.fullmatch(word):
            raise UsageError(f"{where}: {word!r} can't be one; expected names with commas between, e.g. {TYPES}")
    return words


def _port(text: str | None) -> int:
    if not text:
        return 22
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise UsageError(f"{SSH_PORT} is {text!r}; expected a port, 1 to 65535")
    return int(text)
