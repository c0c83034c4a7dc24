"""`testlab schema [NAME]`: the JSON Schema of a file that users write, for editors."""

from __future__ import annotations

import argparse

from pytest_testlab.catalog.read import FILE_NAME
from pytest_testlab.cli._common import exits, print_json
from pytest_testlab.plugins import called, offers, pick, plugin_manager

FILES = {FILE_NAME: "entry", "lab.toml": "lab"}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("schema", help="print the JSON Schema of testlab.toml or lab.toml, for editors")
    say = "of which file: entry (testlab.toml, the default), lab (lab.toml), or a plugin's"
    parser.add_argument("name", metavar="NAME", nargs="?", default="entry", help=say)
    exits(parser)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Print it; raises `UsageError` with the nearest names for an unknown one."""
    offered = offers(called(plugin_manager(), "testlab_schemas"))
    return print_json(pick("schema", FILES.get(args.name, args.name), offered)())
