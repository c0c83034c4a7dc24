"""`testlab db start|stop|url|upgrade`: the embedded PostgreSQL, and the store's schema."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pytest_testlab.cli._common import exits, print_json, reading, settings_of
from pytest_testlab.errors import UsageError
from pytest_testlab.options import Settings

if TYPE_CHECKING:
    from pytest_testlab.store.embedded import EmbeddedPostgres


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser("db", help="the embedded PostgreSQL, and the store's schema")
    exits(parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, words, handler in (
        ("start", "start it, and keep it running until `db stop`", start),
        ("stop", "stop it", stop),
        ("url", "print its address", url),
        ("upgrade", "bring the store's schema up to date", upgrade),
    ):
        action = actions.add_parser(name, help=words)
        reading(action)
        action.set_defaults(handler=handler)


def _embedded(settings: Settings) -> EmbeddedPostgres:
    from pytest_testlab.store.embedded import EmbeddedPostgres
    from pytest_testlab.store.home import home

    if settings.db is not None:
        raise UsageError("the store is not the embedded one: --db or TESTLAB_DATABASE_URL names another")
    return EmbeddedPostgres(home(settings))


def start(args: argparse.Namespace) -> int:
    """Start the embedded server for good."""
    server = _embedded(settings_of(args))
    server.start()
    server.pin()
    return _say(args, server.url)


def stop(args: argparse.Namespace) -> int:
    """Stop it, whoever uses it."""
    _embedded(settings_of(args)).stop()
    return _say(args, "stopped")


def url(args: argparse.Namespace) -> int:
    """Print where the store is; an embedded one may be stopped at the moment."""
    settings = settings_of(args)
    return _say(args, _embedded(settings).url if settings.db is None else settings.db)


def upgrade(args: argparse.Namespace) -> int:
    """Open the store, which brings its schema up to date."""
    from pytest_testlab.store.embedded import open_store

    with open_store(settings_of(args)):
        return _say(args, "the schema is up to date")


def _say(args: argparse.Namespace, text: str) -> int:
    if args.json:
        return print_json({"say": text})
    print(text)
    return 0
