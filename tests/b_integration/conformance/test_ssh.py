"""The provider `ssh` keeps what the protocol promises, over real sshd processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from inventories import sshds, write_inventory
from testlab_ssh.provider import SshProvider

from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.testing import ProviderConformance
from pytest_testlab.testing.targets import LAB_SECRET


class TestSshProvider(ProviderConformance):
    has_claims = True

    @classmethod
    def make_provider(cls, settings: Settings) -> SshProvider:
        return SshProvider(settings)

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, tmp_path_factory: pytest.TempPathFactory, store_server: StoreHandle) -> Iterator[Settings]:
        """Three servers: one is shared, and no test needs more than two of its own."""
        folder = tmp_path_factory.mktemp("inventory")
        with sshds(3) as servers, pytest.MonkeyPatch.context() as patch:
            patch.setenv(LAB_SECRET, "needle-of-the-lab")
            yield Settings(home=str(folder), db=store_server.url, inventory=str(write_inventory(folder, servers)))
