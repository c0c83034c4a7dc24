"""`testlab doctor`: whether this machine has what the lab needs, and what to do where it hasn't."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pytest_testlab.cli._common import exits, paint, print_json, reading, settings_of
from pytest_testlab.errors import TestlabError, UsageError
from pytest_testlab.options import Settings

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where local targets look for programs; the lab's own PATH may hold more."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    check: str
    ok: bool
    say: str


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("doctor", help="look whether everything that the lab needs is there")
    reading(parser)
    parser.add_argument("--provider", metavar="P", help="look for what this one needs, too; default: the settings'")
    exits(parser, {1: "something is missing"}, fine="everything is there")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Print what was found; 1 when something is missing."""
    settings = settings_of(args)
    findings = list(examine(replace(settings, provider=args.provider) if args.provider else settings))
    if args.json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            sign = paint("ok     ", "green") if finding.ok else paint("missing", "red", "bold")
            print(f"{sign}  {finding.check:<12} {finding.say}")
    return 0 if all(finding.ok for finding in findings) else 1


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at one thing after the other; none of them stops the next."""
    yield Finding(check="python", ok=sys.version_info >= (3, 11), say=platform.python_version())
    for check, look in (("plugins", _plugins), ("providers", _providers), ("home", _home), ("store", _store)):
        yield _tried(check, settings, look)
    yield _program("nginx", "the front door of local targets", "apt install nginx-light")
    yield _program("tar", "uploads to targets", "apt install tar")
    yield _program("git", "the provenance of runs", "apt install git")
    yield from _of_plugins(settings)


def _of_plugins(settings: Settings) -> Iterator[Finding]:
    from pytest_testlab.plugins import called, nearest, offers, plugin_manager

    try:
        manager = plugin_manager()
        known = offers(called(manager, "testlab_providers"))
        if settings.provider not in known:
            raise UsageError(f"no provider is called {settings.provider!r}{nearest(settings.provider, known)}")
        for told in called(manager, "testlab_doctor", settings=settings):
            yield from (Finding(check=check, ok=ok, say=say) for check, ok, say in told or ())
    except TestlabError as error:
        yield Finding(check="provider", ok=False, say=str(error))


def _tried(check: str, settings: Settings, look: Callable[[Settings], str]) -> Finding:
    try:
        return Finding(check=check, ok=True, say=look(settings))
    except TestlabError as error:
        return Finding(check=check, ok=False, say=str(error))


def _plugins(settings: Settings) -> str:
    from pytest_testlab.plugins import called, offers, plugin_manager

    manager = plugin_manager()
    providers, platforms = (offers(called(manager, f"testlab_{kind}s")) for kind in ("provider", "platform"))
    return f"providers {', '.join(sorted(providers))}; platforms {', '.join(sorted(platforms))}"


def _providers(settings: Settings) -> str:
    """Those that can be had here, and why others can't; raises `UsageError` where that is the one of the settings."""
    from pytest_testlab.pool.reaping import askable, close

    with tempfile.TemporaryDirectory() as nowhere:  # some make themselves a folder: a look must not leave one behind
        found, absent = askable(replace(settings, home=nowhere), os.environ)
        close(found.values())
    why = "; ".join(f"not {name}: {say}" for name, say in sorted(absent.items()))
    if settings.provider in absent:
        raise UsageError(why)
    return "; ".join(filter(None, (", ".join(sorted(found)), why)))


def _home(settings: Settings) -> str:
    from pytest_testlab.store.home import home, home_path

    where = home_path(settings)
    if where.exists():
        return str(home(settings))
    above = _above(where)
    if not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"{where} isn't there and can't be made: {above} is not yours to write to")
    return f"{where} isn't there yet; the first run would make it"


def _above(path: Path) -> Path:
    """The nearest folder above that is there."""
    return next(parent for parent in path.parents if parent.exists())


def _store(settings: Settings) -> str:
    from sqlalchemy import text

    from pytest_testlab.store.binaries import find_binaries
    from pytest_testlab.store.embedded import open_store
    from pytest_testlab.store.home import check_reachable, database_account, home_path

    where = home_path(settings)
    if settings.db is None and not where.exists():  # a look must not leave a database behind
        find_binaries(None)
        account = database_account()
        if account is not None:
            check_reachable(_above(where) / where.name, account)
        return "PostgreSQL is installed; the first run would make the embedded store"
    with open_store(settings) as store, store.engine.connect() as connection:
        version = connection.execute(text("show server_version")).scalar_one()
    return f"PostgreSQL {version} ({'embedded' if settings.db is None else 'as named'}), schema up to date"


def _program(name: str, what_for: str, how: str) -> Finding:
    found = shutil.which(name, path=SYSTEM_PATH)
    return Finding(check=name, ok=found is not None, say=found or f"needed for {what_for}: {how}")
