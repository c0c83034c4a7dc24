"""A schedule as a pytest session: the same that somebody could type."""

from __future__ import annotations

import sys
from pathlib import Path

from pytest_testlab.labfile.format import PLAYED, Schedule


def command(schedule: Schedule, folder: Path) -> list[str]:
    """The command line of a night, to be started in `folder`, the lab.toml's; holds no secret."""
    given = [
        f"{option.flag_name}={schedule.options[option.name]}" for option in PLAYED if option.name in schedule.options
    ]
    paths = [str(folder / path) for path in schedule.catalog]
    return [sys.executable, "-P", "-m", "pytest", "--testlab-mode=nightly", *given, *schedule.arguments, *paths]
