"""The provider `hetzner`: servers of Hetzner Cloud, made for a run and gone after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_testlab.hookspecs import hookimpl
from pytest_testlab.options import Settings
from pytest_testlab.protocols import Provider

TOKEN = "HCLOUD_TOKEN"  # noqa: S105 - the variable's name


def _hetzner(settings: Settings) -> Provider:
    from testlab_hetzner.provider import HetznerProvider  # imports asyncssh: only for those who use it

    return HetznerProvider(settings)


@hookimpl
def testlab_providers() -> Mapping[str, Callable[[Settings], Provider]]:
    """Offer `hetzner`."""
    return {"hetzner": _hetzner}


@hookimpl
def testlab_credentials() -> tuple[str, ...]:
    """Name the variable with the cloud's token, as Hetzner's own tools do."""
    return (TOKEN,)
