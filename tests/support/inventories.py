"""Inventories of real sshd processes, each a "server" of its own on this machine, blanked by a script."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from openssh import Sshd, has_a_shell, lender, openssh
from tools import tool

CLEAN = 'rm -rf "$HOME" "$TMPDIR" {root} && mkdir "$HOME" "$TMPDIR"'
"""A blank script that tells the truth."""


def write_inventory(
    folder: Path, servers: Iterable[Sshd], *, lease: str = "3m", keys: Mapping[str, str] | None = None
) -> Path:
    """An inventory of web-1, web-2 …; `keys` replaces keys of each table, as TOML. Returns its file."""
    folder.mkdir(exist_ok=True)
    text = f'lease = "{lease}"\n'
    for number, server in enumerate(servers, start=1):
        identity = folder / f"key-{server.address.port}"
        identity.touch(0o600)
        identity.write_text(server.address.private_key)
        root = f"{server.folder}/root"
        table = {
            "name": f'"web-{number}"',
            "address": '"127.0.0.1"',
            "port": str(server.address.port),
            "user": f'"{server.address.user}"',
            "identity": f'"{identity.name}"',
            "host-key": f'"{server.address.host_key.strip()}"',
            "disposable": "true",
            "root": f'"{root}"',
            "ports": f'"{free_ports()}"',
            "lease-file": f'"{server.folder}/lease"',
            "blank": f"{{ script = {json.dumps(CLEAN.format(root=root))}, within = '30s' }}",
        }
        lines = [f"{key} = {value}" for key, value in {**table, **(keys or {})}.items() if value]
        text += "\n[[server]]\n" + "\n".join(lines) + "\n"
    file = folder / "servers.toml"
    file.write_text(text)
    return file


@contextmanager
def sshds(count: int) -> Iterator[list[Sshd]]:
    """So many servers; skips for an account that no sshd lets in."""
    import pytest

    program, account = tool("sshd", "openssh-server"), lender()
    if not has_a_shell(account):
        pytest.skip(f"no sshd lets {account.pw_name} in: its shell is {account.pw_shell}; run as an account with one")
    with ExitStack() as stack:
        yield [stack.enter_context(openssh(program, account)) for _ in range(count)]


def free_ports() -> str:
    """A range of 12 ports on which nothing listens, below those that targets of this machine and the kernel take."""
    for first in random.sample(range(11_000, 19_900, 12), 100):
        with ExitStack() as stack:
            try:
                for port in range(first, first + 12):
                    probe = stack.enter_context(socket.socket())
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return f"{first}-{first + 11}"
    raise AssertionError("no ports are free")
