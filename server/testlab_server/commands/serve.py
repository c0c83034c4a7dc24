"""`testlab serve`: the dashboard, on this machine unless told otherwise.

Every `testlab` command loads this module to learn the flags, so Flask and the rest come in only when it is used.
"""

from __future__ import annotations

import argparse

from pytest_testlab.errors import UsageError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `serve` to the commands of `testlab`."""
    parser = commands.add_parser("serve", help="show the dashboard")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on; default: %(default)s")
    parser.add_argument("--port", type=_port, default=8410, help="the port to listen on, 0 = any; default: %(default)s")
    parser.add_argument("--url", help="the address that users type, when a proxy stands before the server")
    parser.add_argument("--db", metavar="URL", help="the store; default: TESTLAB_DATABASE_URL, else embedded")
    parser.set_defaults(handler=serve)


def serve(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; raises `UsageError` when it can't listen, or the server's own packages are missing."""
    try:
        from testlab_server.serving import serve_until_interrupted
    except ImportError as error:
        raise UsageError(f"serve needs {error.name}: pip install 'pytest-testlab[server]'") from None
    serve_until_interrupted(host=arguments.host, port=arguments.port, url=arguments.url, db=arguments.db)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; allowed: 0 to 65535")
    return int(text)
