"""What the server registers with the lab: its commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

from pytest_testlab.hookspecs import hookimpl


@hookimpl
def testlab_commands() -> Iterable[Callable[[argparse._SubParsersAction[argparse.ArgumentParser]], None]]:
    """`testlab serve` and `testlab schedule`."""
    from testlab_server.commands import schedule, serve  # import SQLAlchemy: not for a session, nor for its workers

    return [serve.add_parser, schedule.add_parser]
