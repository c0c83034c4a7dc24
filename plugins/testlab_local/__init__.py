"""The provider `local`: each target an SSH server on loopback, with a folder and ports of its own. No isolation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_testlab.hookspecs import hookimpl
from pytest_testlab.options import Settings
from pytest_testlab.protocols import Provider


def _local(settings: Settings) -> Provider:
    from testlab_local.provider import LocalProvider  # imports asyncssh: only for those who use it

    settings.refuse_images("the provider local runs on this very machine, whatever that is")
    return LocalProvider(settings)


@hookimpl
def testlab_providers() -> Mapping[str, Callable[[Settings], Provider]]:
    """Offer `local`."""
    return {"local": _local}
