"""The provider `nspawn`: systemd-nspawn hosts of this machine, each with its own systemd, network and sshd."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pytest_testlab.errors import UsageError
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


@hookimpl
def testlab_doctor(settings: Settings) -> Iterable[tuple[str, bool, str]]:
    """Whether this machine can have hosts; that it can't is nothing missing where nobody asks for them."""
    from testlab_nspawn.commands import check_machine

    wanted = settings.provider == "nspawn"
    try:
        check_machine()
    except UsageError as error:
        return [("nspawn", not wanted, str(error) if wanted else f"not asked for, and not to be had as it is: {error}")]
    return [("nspawn", True, "root, and every program that its hosts need")]
