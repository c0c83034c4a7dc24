"""`testlab serve`: the dashboard, on this machine unless told otherwise, and the nights of lab.toml.

Every `testlab` command loads this module to learn the flags, so Flask and the rest come in only when it is used.
"""

from __future__ import annotations

import argparse

from pytest_testlab.cli._common import exits
from pytest_testlab.errors import UsageError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `serve` to the commands of `testlab`."""
    parser = commands.add_parser("serve", help="show the dashboard, and play the nights of lab.toml")
    parser.add_argument(
        "--config", metavar="FILE", help="the lab.toml; default: TESTLAB_CONFIG, this folder's, the home's"
    )
    parser.add_argument("--host", help="the address to listen on; default: lab.toml's, else 127.0.0.1")
    parser.add_argument("--port", type=_port, help="the port to listen on, 0 = any; default: lab.toml's, else 8410")
    parser.add_argument("--url", help="the address that users type, when a proxy stands before the server")
    parser.add_argument("--db", metavar="URL", help="the store; default: TESTLAB_DATABASE_URL, else embedded")
    parser.add_argument(
        "--link", action="store_true", help="print a fresh login link of the server that runs already, and end"
    )
    exits(parser, fine="ended by Ctrl-C or SIGTERM, or the link was printed")
    parser.set_defaults(handler=serve)


def serve(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C, or only print a login link.

    Raises `UsageError` when it can't listen, when no server runs to make a link for, or when the server's own packages
    are missing.
    """
    try:
        from testlab_server.serving import fresh_link, serve_until_interrupted
    except ImportError as error:
        raise UsageError(f"serve needs {error.name}: pip install 'pytest-testlab[server]'") from None
    if arguments.link:
        print(fresh_link(arguments.port))
        return 0
    flags = {"host": arguments.host, "port": arguments.port, "url": arguments.url}
    serve_until_interrupted(flags, db=arguments.db, config=arguments.config)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; allowed: 0 to 65535")
    return int(text)
