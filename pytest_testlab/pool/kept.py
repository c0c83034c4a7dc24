"""Servers that outlive their run: how this machine gets to them. A folder for each lies below the lab's home.

The key to a server lies there and nowhere else, in a file that ssh takes; it goes when the server does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_testlab.errors import InfraError, UsageError
from pytest_testlab.model import Server, SshAddress
from pytest_testlab.plugins import nearest

KEY, JUMP_KEY, KNOWN_HOSTS, ABOUT = "key", "jump-key", "known_hosts", "server.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class KeptServer:
    """A server that a run left standing, with all that leads to it."""

    server: Server
    platform: str
    run: str
    """The run that kept it."""
    why: str
    """`failed` or `always`."""
    test: str
    """The test that failed on it first; empty where none did."""
    kept_at: dt.datetime

    @property
    def name(self) -> str:
        """The server's."""
        return self.server.name


def save(home: Path, kept: KeptServer) -> None:
    """Put a server's folder in place, whole or not at all; raises `InfraError`."""
    final = _folder(home, kept.name)
    try:
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".new-", dir=final.parent))
        try:
            _write(draft, kept)
            shutil.rmtree(final, ignore_errors=True)
            draft.rename(final)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as error:
        raise InfraError(f"{kept.name}: the way to it can't be written to {final}: {error.strerror}") from error


def load(home: Path, name: str) -> KeptServer | None:
    """A kept server that this machine has the key of; None where it has none, or nothing that can be read."""
    if not _NAME.fullmatch(name):
        return None
    folder = home / "kept" / name
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        about = json.loads((folder / ABOUT).read_text())
        moments = {"kept_at": dt.datetime.fromisoformat(about.pop("kept_at"))}
        return KeptServer(**{**about, **moments, "server": _server(about["server"], folder)})
    return None


def every(home: Path) -> Iterator[KeptServer]:
    """Every one that this machine has the key of, by name."""
    folder = home / "kept"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        kept = load(home, path.name)
        if kept is not None:
            yield kept


def unknown_kept(home: Path, name: str) -> UsageError:
    """What to say of a name that no kept server has here."""
    return UsageError(
        f"no server that is kept, and to which this machine has the key, is called {name!r}"
        f"{nearest(name, [kept.name for kept in every(home)])}; `testlab servers` lists them"
    )


def forget(home: Path, name: str) -> None:
    """Remove the key to a server and all that leads there; gone already = done."""
    if _NAME.fullmatch(name):
        shutil.rmtree(home / "kept" / name, ignore_errors=True)


def ssh_line(home: Path, kept: KeptServer) -> str | None:
    """What to type to get there; None where no SSH leads. The host's key is pinned, the user's own settings count for
    nothing."""
    address = kept.server.ssh
    if address is None:
        return None
    folder = _folder(home, kept.name)
    through = []
    if address.jump is not None:
        hop = [*_ssh(folder, address.jump, JUMP_KEY)[:-1], "-W", f"[{address.host}]:{address.port}"]
        through = ["-o", "ProxyCommand=" + shlex.join([*hop, _ssh(folder, address.jump, JUMP_KEY)[-1]])]
    *options, who = _ssh(folder, address, KEY)
    return shlex.join([*options, *through, who])


def address_of(server: Server) -> str:
    """The same for those who have no key here: where it is, as ssh wants it; empty where no SSH leads."""
    return "" if server.ssh is None else f"ssh -p {server.ssh.port} {server.ssh.user}@{server.ssh.host}"


def _ssh(folder: Path, address: SshAddress, key: str) -> list[str]:
    options = ["-o", f"UserKnownHostsFile={folder / KNOWN_HOSTS}", "-o", "IdentitiesOnly=yes"]
    options += ["-o", "StrictHostKeyChecking=yes", "-p", str(address.port)]
    return ["ssh", "-F", "none", "-i", str(folder / key), *options, f"{address.user}@{address.host}"]


def _folder(home: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} can't name a kept server; allowed: letters, digits, '.', '_' and '-', at most 100")
    return home / "kept" / name


def _write(folder: Path, kept: KeptServer) -> None:
    about = {**dataclasses.asdict(kept), "kept_at": kept.kept_at.isoformat()}
    hosts: list[str] = []
    for address, key in _addresses(kept.server.ssh):
        _put(folder / key, address.private_key.rstrip("\n") + "\n")
        hosts.append(known_host(address))
    for wire in _wires(about["server"]["ssh"]):
        del wire["private_key"]
    _put(folder / KNOWN_HOSTS, "".join(f"{line}\n" for line in hosts))
    _put(folder / ABOUT, json.dumps(about))


def known_host(address: SshAddress) -> str:
    """The line of a known_hosts file that pins a host's key."""
    host = address.host if address.port == 22 else f"[{address.host}]:{address.port}"
    return f"{host} {' '.join(address.host_key.split()[:2])}"


def _addresses(address: SshAddress | None) -> Sequence[tuple[SshAddress, str]]:
    if address is None:
        return ()
    return [(address, KEY), *([(address.jump, JUMP_KEY)] if address.jump is not None else [])]


def _wires(wire: dict[str, object] | None) -> Iterator[dict[str, object]]:
    while isinstance(wire, dict):
        yield wire
        wire = wire.get("jump")  # type: ignore[assignment]


def _server(wire: dict[str, object], folder: Path) -> Server:
    ssh = wire.get("ssh")
    return Server(**{**wire, "ssh": _address(ssh, folder, KEY) if isinstance(ssh, dict) else None})  # type: ignore[arg-type]


def _address(wire: dict[str, object], folder: Path, key: str) -> SshAddress:
    jump = wire.get("jump")
    through = _address(jump, folder, JUMP_KEY) if isinstance(jump, dict) else None
    return SshAddress(**{**wire, "jump": through, "private_key": (folder / key).read_text()})  # type: ignore[arg-type]


def _put(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
