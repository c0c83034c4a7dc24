"""Hop3: with `--testlab-platform hop3` its hop3.toml, test.toml, demos and tutorials are tests as they are."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_testlab.hookspecs import hookimpl
from pytest_testlab.protocols import CatalogFormat

NAME = "hop3"


@hookimpl
def testlab_catalog_formats(platform: str | None) -> Iterable[CatalogFormat]:
    """Read Hop3's own files where its platform was asked for: elsewhere they are an app's, and say nothing to us."""
    if platform != NAME:
        return ()
    from testlab_hop3.format import Hop3Format

    return (Hop3Format(),)
