"""What the server registers with the lab: its commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

from pytest_testlab.hookspecs import hookimpl
from testlab_server.commands import schedule, serve


@hookimpl
def testlab_commands() -> Iterable[Callable[[argparse._SubParsersAction[argparse.ArgumentParser]], None]]:
    """`testlab serve` and `testlab schedule`."""
    return [serve.add_parser, schedule.add_parser]
