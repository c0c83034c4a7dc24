"""The provider `hetzner`: servers of Hetzner Cloud, made for a run and gone after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec

from pytest_testlab.errors import UsageError
from pytest_testlab.hookspecs import hookimpl
from pytest_testlab.options import Settings
from pytest_testlab.protocols import Provider

NEEDS = "the provider hetzner needs hcloud: pip install 'pytest-testlab[hetzner]'"
TOKEN = "HCLOUD_TOKEN"  # noqa: S105 - the variable's name


def _hetzner(settings: Settings) -> Provider:
    if find_spec("hcloud") is None:
        raise UsageError(NEEDS)
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
