"""Hop3: with `--testlab-platform hop3` its hop3.toml, test.toml, demos and tutorials are tests, run on a real Hop3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pytest_testlab.hookspecs import hookimpl
from pytest_testlab.options import Settings
from pytest_testlab.protocols import CatalogFormat, Platform

NAME = "hop3"


def _hop3(settings: Settings) -> Platform:
    from testlab_hop3.platform import Hop3Platform  # imports what only runs need

    return Hop3Platform(settings)


@hookimpl
def testlab_platforms() -> Mapping[str, Callable[[Settings], Platform]]:
    """Offer `hop3`."""
    return {NAME: _hop3}


@hookimpl
def testlab_catalog_formats(platform: str | None) -> Iterable[CatalogFormat]:
    """Read Hop3's own files where its platform was asked for: elsewhere they are an app's, and say nothing to us."""
    if platform != NAME:
        return ()
    from testlab_hop3.format import Hop3Format

    return (Hop3Format(),)
