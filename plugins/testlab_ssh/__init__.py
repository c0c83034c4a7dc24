"""The provider `ssh`: servers that one already has, each listed in an inventory, leased, blanked and proven blank."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_testlab.hookspecs import hookimpl
from pytest_testlab.options import Settings
from pytest_testlab.protocols import Provider


def _ssh(settings: Settings) -> Provider:
    from testlab_ssh.provider import SshProvider  # imports asyncssh: only for those who use it

    settings.refuse_images("the provider ssh takes servers as they are")
    return SshProvider(settings)


@hookimpl
def testlab_providers() -> Mapping[str, Callable[[Settings], Provider]]:
    """Offer `ssh`."""
    return {"ssh": _ssh}
