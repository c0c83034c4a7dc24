"""The pytest11 entry point `testlab`: wiring only, light to import, inert unless a --testlab-* option is given."""

from __future__ import annotations

import pytest

from pytest_testlab.errors import UsageError
from pytest_testlab.options import OPTIONS, Settings, from_ini, resolve

SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flags and ini keys of `options.OPTIONS`."""
    group = parser.getgroup("testlab", "testlab: a catalog of self-hosted apps on disposable servers")
    for option in OPTIONS:
        parser.addini(option.dest, option.help, default="")
        if option.flag:
            group.addoption(option.flag_name, dest=option.dest, metavar=option.metavar, default=None, help=option.help)


def is_active(config: pytest.Config) -> bool:
    """Whether this session asked for the lab; everything else in here does nothing if it didn't."""
    return any(getattr(config.option, option.dest, None) is not None for option in OPTIONS if option.flag)


def pytest_configure(config: pytest.Config) -> None:
    """Bring in the engine, if it was asked for."""
    if not is_active(config):
        return
    flags = {option.name: getattr(config.option, option.dest, None) for option in OPTIONS}
    ini = {option.name: str(config.getini(option.dest)) for option in OPTIONS}
    folder = config.inipath.parent if config.inipath is not None else config.rootpath
    try:
        config.stash[SETTINGS] = resolve(flags, from_ini(ini, folder))
        from pytest_testlab.session import configure

        configure(config, config.stash[SETTINGS])
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
