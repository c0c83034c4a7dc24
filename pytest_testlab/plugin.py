"""The pytest11 entry point `testlab`: wiring only, light to import, inert unless a --testlab-* option is given."""

from __future__ import annotations

import argparse
from collections.abc import Generator
from contextlib import suppress

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


def is_active(given: argparse.Namespace) -> bool:
    """Whether this session asked for the lab; everything else in here does nothing if it didn't."""
    return any(getattr(given, option.dest, None) is not None for option in OPTIONS if option.flag)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Let others know betimes that there will be workers: pytest-cov asks for it here, and never again."""
    given = early_config.known_args_namespace
    if is_active(given):
        with suppress(UsageError):  # said once all of the arguments are read
            pool = _settings(early_config, given).pool
            given.numprocesses = pool if pool > 1 else getattr(given, "numprocesses", None)
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Bring in the engine, if it was asked for."""
    if not is_active(config.option):
        return
    try:
        config.stash[SETTINGS] = _settings(config, config.option)
        from pytest_testlab.session import configure

        configure(config, config.stash[SETTINGS])
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _settings(config: pytest.Config, given: argparse.Namespace) -> Settings:
    flags = {option.name: getattr(given, option.dest, None) for option in OPTIONS}
    ini = {option.name: str(config.getini(option.dest)) for option in OPTIONS}
    folder = config.inipath.parent if config.inipath is not None else config.rootpath
    return resolve(flags, from_ini(ini, folder))
