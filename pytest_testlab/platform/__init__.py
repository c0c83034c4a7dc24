"""The procfile platform: a build, a supervised process, an nginx vhost.

Works on any Linux with nginx, as an ordinary account. What is done on a target is done by the shell scripts in
`scripts`, which are sent whole for each step; nothing is installed there for good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pytest_testlab.hookspecs import hookimpl

if TYPE_CHECKING:
    from pytest_testlab.options import Settings
    from pytest_testlab.protocols import Platform


def _procfile(settings: Settings) -> Platform:
    from pytest_testlab.platform.procfile import ProcfilePlatform

    return ProcfilePlatform()


@hookimpl
def testlab_platforms() -> Mapping[str, Callable[[Settings], Platform]]:
    """Offer `procfile`."""
    return {"procfile": _procfile}
