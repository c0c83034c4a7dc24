"""`testlab schema [NAME]`: the JSON Schema of a file that users write, for editors."""

from __future__ import annotations

import argparse

from pytest_testlab.catalog.read import FILE_NAME
from pytest_testlab.cli._common import print_json
from pytest_testlab.plugins import called, offers, pick, plugin_manager


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("schema", help="print the JSON Schema of testlab.toml, for editors")
    parser.add_argument("name", metavar="NAME", nargs="?", default="entry", help="of which file; default: entry")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Print it; raises `UsageError` with the nearest names for an unknown one."""
    offered = offers(called(plugin_manager(), "testlab_schemas"))
    name = "entry" if args.name == FILE_NAME else args.name
    return print_json(pick("schema", name, offered)())
