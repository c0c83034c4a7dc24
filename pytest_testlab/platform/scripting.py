"""Puts together what is sent to a target: the packaged scripts, with their values as quoted shell variables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from pytest_testlab.errors import InfraError, ending
from pytest_testlab.model import CommandResult
from pytest_testlab.protocols import Target

FAILED = 10
"""Exit code of a script that says on standard error why it couldn't do its work."""
LACKING = 11
"""Exit code of a script that says on standard error what the target lacks."""


@cache
def packaged(name: str) -> str:
    """The text of a packaged file, e.g. `scripts/lib.sh`."""
    return files("pytest_testlab.platform").joinpath(*name.split("/")).read_text(encoding="utf-8")


def compose(variables: Mapping[str, str], *scripts: str) -> str:
    """A script that sets `tl_…` variables and then is the named scripts, in order.

    The variables are not exported: no child sees them, and no process list.
    """
    lines = [f"tl_{name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([*lines, *(_bare(name) for name in scripts)])


@cache
def _bare(name: str) -> str:
    """A script without what only its readers need: it may travel with every command."""
    return re.sub(r"^[ \t]+|^[ \t]*#.*\n", "", packaged(f"scripts/{name}.sh"), flags=re.MULTILINE)


def execute(target: Target, script: str, *, timeout_s: float, doing: str) -> CommandResult:
    """Run a composed script; raises `InfraError` when it ends otherwise than the platform's scripts do.

    `doing` says for people what it was for.
    """
    result = target.run(script, timeout_s=timeout_s)
    if result.exit_code in (0, FAILED, LACKING):
        return result
    if result.timed_out:
        raise InfraError(f"{target.server.name}: {doing} took more than {timeout_s:g} s")
    raise InfraError(f"{target.server.name}: {doing} ended with exit code {result.exit_code}: {reason(result)}")


def reason(result: CommandResult) -> str:
    """What a script said on standard error, as one line of at most 500 characters."""
    return ending(" ".join(result.stderr.decode(errors="replace").split()), 500) or "no reason given"


def facts(result: CommandResult) -> dict[str, str]:
    """The KEY=VALUE lines that a script printed."""
    lines = result.stdout.decode(errors="replace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)
