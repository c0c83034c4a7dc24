"""The inventory of servers that one already has: a TOML file, read as strictly as a testlab.toml."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import asyncssh

from pytest_testlab.catalog import readers, values
from pytest_testlab.catalog.read import parse_toml, problems, read_bytes
from pytest_testlab.catalog.readers import KeyPath, Refused
from pytest_testlab.catalog.tables import Schema, TableReader
from pytest_testlab.errors import CatalogError, UsageError
from pytest_testlab.model import SshAddress
from pytest_testlab.target.written import known_key, read_login

LEASE_S = 180.0
LEAST_LEASE_S = 3.0
LEASE_FILE = "/var/tmp/testlab-lease"  # noqa: S108 - on a server that is disposable; outlives a reboot
PORTS = "20000-20049"
WITHIN_S = 300.0
PROOF_WITHIN_S = 60.0
MOST_SERVERS = 64
MOST_PORTS = 1000


@dataclass(frozen=True, kw_only=True)
class Blank:
    """How a server is blanked: a command on the lab host, or a script on the server, a reboot, or both of those."""

    command: str | None = None
    script: str | None = None
    reboot: str | None = None
    """The command on the server that reboots it."""
    within_s: float = WITHIN_S


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What must hold after a blanking, beyond what the lab looks at anyway."""

    rebooted: bool = False
    script: str | None = None
    """On the server; must exit 0."""
    stdout: str | None = None
    """What the script's output must contain."""
    within_s: float = PROOF_WITHIN_S


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One server of an inventory."""

    name: str
    address: str
    user: str
    private_key: str = field(repr=False)
    host_key: str
    """Its public key, OpenSSH text: pinned."""
    blank: Blank
    proof: Proof = Proof()
    port: int = 22
    root: str | None = None
    """The working folder; None = the platform's own default."""
    ports: str = PORTS
    lease_file: str = LEASE_FILE
    jump: SshAddress | None = None
    """The SSH server to go through; `address` is as seen from there."""

    @property
    def ssh(self) -> SshAddress:
        """How it is reached."""
        return SshAddress(
            host=self.address,
            port=self.port,
            user=self.user,
            private_key=self.private_key,
            host_key=self.host_key,
            jump=self.jump,
        )

    @property
    def identity(self) -> str:
        """Sixteen hexadecimal digits that are the machine's, by whatever name and address it is listed."""
        return hashlib.sha256(_key_of(self.host_key).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """All servers of a file, in its order."""

    file: Path
    servers: tuple[Listed, ...]
    lease_s: float = LEASE_S
    """How long a server stays taken after its run last gave a sign of life."""

    def named(self, name: str) -> Listed | None:
        """The server of that name."""
        return next((listed for listed in self.servers if listed.name == name), None)


def read_inventory(file: Path) -> Inventory:
    """The inventory in a file; raises `CatalogError` with all of its problems, each with key and line."""
    file = file.expanduser().absolute()
    document, text = parse_toml(file, read_bytes(file))
    reader = _Reader(file)
    inventory = reader.read(document)
    if inventory is None:
        raise CatalogError(problems(file, text, reader.faults))
    return inventory


# --- values ----------------------------------------------------------------------------------------------------------

_PORT_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
server_name = readers.matching(
    r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?",
    "1 to 63 of a-z, A-Z, 0-9, _, . and -, beginning and ending with a letter or digit",
)
address = readers.matching(r"[A-Za-z0-9]([A-Za-z0-9.:_-]{0,253}[A-Za-z0-9])?", "a host name or an IP address")
user = readers.matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", "the name of an account")
port = readers.integer(1, 65535)


def _key_of(public: str) -> str:
    return " ".join(public.split()[:2])


def _host_key(value: Any) -> str:
    text = readers.line(value).strip()
    try:
        key: asyncssh.SSHKey = asyncssh.import_public_key(text)
    except (asyncssh.KeyImportError, ValueError):
        say = 'is not a public key; expected the server\'s own, e.g. "ssh-ed25519 AAAA…" from /etc/ssh/*.pub there'
        raise Refused(say) from None
    return _key_of(key.export_public_key().decode())


def _login(value: Any) -> tuple[str, str, int]:
    try:
        return read_login(readers.line(value))
    except UsageError as error:
        raise Refused(str(error)) from None


def _disposable(value: Any) -> bool:
    if value is not True:
        raise Refused("must be true: the lab wipes this server, again and again, and touches no other")
    return True


def _ports(value: Any) -> str:
    text = readers.line(value)
    match = _PORT_RANGE.fullmatch(text)
    least, most = (int(match[1]), int(match[2])) if match is not None else (0, 0)
    if not (1 <= least <= most - 3 <= 65_532 and most - least < MOST_PORTS):
        raise Refused(f'{readers.shown(text)} is no range of 4 to {MOST_PORTS} ports, e.g. "{PORTS}"')
    return text


def _path(value: Any) -> str:
    text = readers.line(value)
    path = PurePosixPath(text)
    if not re.fullmatch(r"/[A-Za-z0-9._/-]+", text) or ".." in path.parts or len(path.parts) < 3:
        say = 'must be an absolute path of two parts or more, of letters, digits, ".", "_" and "-", without ".."'
        raise Refused(f"{readers.shown(text)} {say}")
    return str(path)


def _lease(value: Any) -> float:
    seconds = values.duration(value)
    if seconds < LEAST_LEASE_S:
        raise Refused(f"must be {LEAST_LEASE_S:g}s or more")
    return seconds


def _true(value: Any) -> bool:
    if value is not True:
        raise Refused("must be true, or be left out")
    return True


INVENTORY: Schema = {
    "lease": ("lease_s", _lease),
    "known-hosts": ("known_hosts", readers.line),
    "server": ("servers", readers.many(readers.table, MOST_SERVERS, least=1)),
}
BLANK: Schema = {
    "command": ("command", readers.text),
    "script": ("script", readers.text),
    "reboot": ("reboot", readers.line),
    "within": ("within_s", values.duration),
}
PROOF: Schema = {
    "rebooted": ("rebooted", _true),
    "script": ("script", readers.text),
    "stdout": ("stdout", readers.text),
    "within": ("within_s", values.duration),
}
SERVER: Schema = {
    "name": ("name", server_name),
    "address": ("address", address),
    "port": ("port", port),
    "user": ("user", user),
    "identity": ("private_key", readers.line),
    "host-key": ("host_key", _host_key),
    "jump": ("jump", _login),
    "jump-identity": ("jump_key", readers.line),
    "jump-host-key": ("jump_host_key", _host_key),
    "disposable": ("disposable", _disposable),
    "root": ("root", _path),
    "ports": ("ports", _ports),
    "lease-file": ("lease_file", _path),
    "blank": ("blank", readers.table),
    "proof": ("proof", readers.table),
}
NEEDED = ("name", "address", "user", "identity", "host-key", "disposable", "blank")
MISSING = {
    "disposable": ": say disposable = true",
    "host-key": "; give it, or known-hosts = a file above the tables",
}
OF_A_JUMP = ("jump-identity", "jump-host-key")


def _place(given: dict[str, Any]) -> object:
    if "address" not in given:
        return None
    return given["address"], given.get("port", 22), given.get("jump")


class _Reader(TableReader):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._known: Path | None = None

    def read(self, document: dict[str, Any]) -> Inventory | None:
        fields = self._table((), document, INVENTORY)
        if "known_hosts" in fields:
            self._known = self._beside(fields.pop("known_hosts"))
        if "server" not in document:
            self._fault((), "no [[server]] is given; add one for each server")
        servers = [self._server(("server", i), raw) for i, raw in enumerate(fields.pop("servers", ()))]
        self._refuse_twins(servers)
        if self.faults:
            return None
        return Inventory(file=self._file, servers=tuple(Listed(**given) for given in servers), **fields)

    def _server(self, at: KeyPath, raw: dict[str, Any]) -> dict[str, Any]:
        for key in NEEDED:
            if key not in raw and not (key == "host-key" and self._known is not None):
                self._fault(at, f"{key} is missing{MISSING.get(key, '')}")
        fields = self._table(at, raw, SERVER)
        fields.pop("disposable", None)
        if "private_key" in fields:
            fields["private_key"] = self._value((*at, "identity"), self._private_key, fields["private_key"])
        if "host-key" not in raw and "address" in fields:
            fields["host_key"] = self._known_key(at, fields["address"], fields.get("port", 22))
        fields["jump"] = self._jump(at, raw, fields)
        if "blank" in fields:
            fields["blank"] = self._blank((*at, "blank"), fields["blank"])
        if "proof" in fields:
            fields["proof"] = self._proof((*at, "proof"), fields["proof"])
        return fields

    def _jump(self, at: KeyPath, raw: dict[str, Any], fields: dict[str, Any]) -> SshAddress | None:
        identity, host_key = fields.pop("jump_key", None), fields.pop("jump_host_key", None)
        if "jump" not in raw:
            for key in OF_A_JUMP:
                if key in raw:
                    self._fault((*at, key), "is of a jump host, and there is no jump")
        if "jump" not in fields:
            return None
        user, host, port = fields["jump"]
        if "jump-host-key" not in raw and self._known is None:
            self._fault(at, f"jump-host-key is missing{MISSING['host-key']}")
        if "jump-host-key" not in raw:
            host_key = self._known_key((*at, "jump"), host, port)
        private_key = fields.get("private_key")
        if identity is not None:
            private_key = self._value((*at, "jump-identity"), self._private_key, identity)
        if private_key is None or host_key is None:
            return None
        return SshAddress(host=host, port=port, user=user, private_key=private_key, host_key=host_key)

    def _known_key(self, at: KeyPath, host: str, port: int) -> str | None:
        if self._known is None:
            return None
        try:
            return known_key(self._known, host, port)
        except UsageError as error:
            self._fault(at, str(error))
            return None

    def _beside(self, path: object) -> Path:
        """A path of the inventory's: relative to it, unless it is absolute or begins with ~."""
        return self._file.parent / Path(str(path)).expanduser()

    def _private_key(self, path: Any) -> str:
        """The key in a file, which only its owner may read; a relative path is relative to the inventory."""
        file = self._beside(path)
        try:
            if file.stat().st_mode & 0o077:
                raise Refused(f"{readers.shown(str(file))} can be read by others; type: chmod 600 {file}")
            text = file.read_text()
            asyncssh.import_private_key(text)
        except OSError as error:
            raise Refused(f"{readers.shown(str(file))} can't be read: {error.strerror}") from None
        except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError, ValueError) as error:
            locked = isinstance(error, asyncssh.KeyEncryptionError) or "passphrase" in str(error).lower()
            why = "is locked with a passphrase, which nobody can type at night" if locked else "is no private key"
            raise Refused(f"{readers.shown(str(file))} {why}") from None
        return text

    def _blank(self, at: KeyPath, raw: dict[str, Any]) -> Blank | None:
        fields = self._table(at, raw, BLANK)
        if ("command" in raw) is ("script" in raw or "reboot" in raw):
            self._fault(at, 'needs command = "…" (on the lab host), or script = "…" or reboot = "…" (on the server)')
            return None
        return Blank(**fields)

    def _proof(self, at: KeyPath, raw: dict[str, Any]) -> Proof | None:
        fields = self._table(at, raw, PROOF)
        if not {"rebooted", "script"} & raw.keys():
            self._fault(at, 'needs rebooted = true or script = "…"; without either leave proof out')
        if "stdout" in raw and "script" not in raw:
            self._fault((*at, "stdout"), "is what a script's output must contain, and there is no script")
        return Proof(**fields)

    def _refuse_twins(self, servers: list[dict[str, Any]]) -> None:
        checks: tuple[tuple[str, Callable[[dict[str, Any]], object]], ...] = (
            ("name", lambda given: given.get("name")),
            ("address", _place),
            ("host-key", lambda given: given.get("host_key")),
        )
        for key, of in checks:
            seen: dict[object, int] = {}
            for index, given in enumerate(servers):
                value = of(given)
                if value is None:
                    continue
                first = seen.setdefault(value, index)
                if first != index:
                    self._fault(("server", index, key), f"is that of server[{first + 1}]: each machine is listed once")
