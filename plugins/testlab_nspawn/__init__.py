"""The provider `nspawn`: systemd-nspawn hosts of this machine, each with its own systemd, network and sshd."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_testlab.hookspecs import hookimpl
from pytest_testlab.options import Settings
from pytest_testlab.protocols import Provider


def _nspawn(settings: Settings) -> Provider:
    from testlab_nspawn.provider import NspawnProvider  # imports asyncssh: only for those who use it

    return NspawnProvider(settings)


@hookimpl
def testlab_providers() -> Mapping[str, Callable[[Settings], Provider]]:
    """Offer `nspawn`."""
    return {"nspawn": _nspawn}
