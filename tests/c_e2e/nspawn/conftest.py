"""Hosts of systemd-nspawn, in a folder of the test's own, of which nothing may be left on the machine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import hostyard
import pytest
from testlab_nspawn import places
from testlab_nspawn.provider import NspawnProvider

from pytest_testlab.options import Settings


@pytest.fixture(scope="session", autouse=True)
def yard() -> Iterator[Path]:
    """The folder. At the end neither it nor the machine holds anything of its hosts."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts, and makes networks")
    if lacking := hostyard.lacking():
        pytest.fail(f"the images {', '.join(lacking)} are still to be made: make images, or make e2e, which does it")
    base = Path(f"/var/tmp/tl-hosts-{secrets.token_hex(4)}")
    was, alone = hostyard.FORWARD.read_text(), not hostyard.others()
    hostyard.make(base)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(places.VARIABLE, str(base))
        yield base
    left = hostyard.traces(base, hostyard.units(base)) + hostyard.on_disk(base)
    assert left == []
    if alone and not hostyard.others():
        assert hostyard.FORWARD.read_text() == was
        assert hostyard.bridges() == set()
        assert hostyard.names("tl-*") == set()
    (base / "images").unlink()
    (base / "machine").unlink()
    places.remove(base)


@pytest.fixture(autouse=True)
def _in_the_yard(_no_settings_of_the_caller: None, yard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test's own settings were taken away; this one stays."""
    monkeypatch.setenv(places.VARIABLE, str(yard))


@pytest.fixture(scope="module")
def provider(yard: Path) -> Iterator[NspawnProvider]:
    """The provider; what a failed test left of its hosts goes with it."""
    provider = NspawnProvider(Settings())
    yield provider
    for resource in provider.resources():
        provider.remove(resource)
