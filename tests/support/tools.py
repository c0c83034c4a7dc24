"""Programs and libraries that tests need beyond what the lab needs."""

from __future__ import annotations

import ctypes
import os
import shutil
from typing import NoReturn

import pytest

ALONE = ("-p", "no:randomly", "-p", "no:hypothesispytest", "-p", "no:pytest_mock")
"""For a session that a test starts: without the plugins that the lab's own tests use, which would cost each of its
processes a third of its start. tests/matrix is about being beside other plugins."""


def tool(name: str, package: str) -> str:
    """The path of a program; without it root's test fails, and others' are skipped, saying what to install."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    return path or _lacking(f"{name} on PATH", package)


def library(name: str, package: str) -> None:
    """The same for a shared library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        _lacking(name, package)


def _lacking(what: str, package: str) -> NoReturn:
    """`make test` installs the package where root or sudo is there, so as root nothing may go untested."""
    say = f"no {what}; install it: apt-get install --no-install-recommends {package}"
    if os.geteuid() == 0:
        pytest.fail(f"{say} (or run: make tools)")
    pytest.skip(say)
