"""Real sshd processes that stand for servers one already has, and runs that want them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from inventories import sshds, write_inventory
from openssh import Sshd
from testlab_ssh.provider import SshProvider

from pytest_testlab.model import ServerRequest
from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import StoreHandle


@dataclass
class Fleet:
    """Servers, and the providers of runs that share them."""

    servers: list[Sshd]
    folder: Path
    db: str
    providers: list[SshProvider] = field(default_factory=list)

    def settings(self, *, db: str | None = None, lease: str = "3m", **keys: str) -> Settings:
        """An inventory of the servers, as a run of its own reads it; `keys` replaces keys of each table."""
        folder = self.folder / secrets.token_hex(4)
        replaced = {key.replace("_", "-"): value for key, value in keys.items()}
        file = write_inventory(folder, self.servers, lease=lease, keys=replaced)
        return Settings(home=str(folder), db=db or self.db, inventory=str(file))

    def provider(self, *, db: str | None = None, lease: str = "3m", **keys: str) -> SshProvider:
        """The provider of another run."""
        self.providers.append(SshProvider(self.settings(db=db, lease=lease, **keys)))
        return self.providers[-1]

    def lease(self, number: int = 0) -> Path:
        """The lease on a server."""
        return self.servers[number].folder / "lease"

    def root(self, number: int = 0) -> Path:
        """The working folder on a server."""
        return self.servers[number].folder / "root"


@pytest.fixture(scope="module")
def one_sshd() -> Iterator[Sshd]:
    with sshds(1) as [server]:
        yield server


@pytest.fixture
def fleet(one_sshd: Sshd, tmp_path: Path, store_server: StoreHandle) -> Iterator[Fleet]:
    """One server; nobody has it afterwards."""
    fleet = Fleet([one_sshd], tmp_path, store_server.url)
    yield fleet
    for provider in fleet.providers:
        provider.close()
    fleet.lease().unlink(missing_ok=True)


def request_of(run: str, slot: int = 0, trigger: str = "cli:alice") -> ServerRequest:
    """What a run asks for."""
    return ServerRequest(run=run, slot=slot, trigger=trigger)


@pytest.fixture
def ask() -> object:
    """`request_of`."""
    return request_of
