"""`testlab db start|stop|url|upgrade`: the embedded PostgreSQL, and the store's schema."""

from __future__ import annotations

import argparse

from pytest_testlab.cli._common import print_json, reading, settings_of
from pytest_testlab.errors import UsageError
from pytest_testlab.options import Settings


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser("db", help="the embedded PostgreSQL, and the store's schema")
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
    from pytest_testlab.store.embedded import EmbeddedPostgres, home

    if settings.db is not None:
        raise UsageError("the store is not the embedded one: --db or TESTLAB_DATABASE_URL names another")
    return EmbeddedPostgres(home(settings))
