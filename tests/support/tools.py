"""Programs that tests need beyond what the lab needs."""

from __future__ import annotations

import os
import shutil

import pytest


def tool(name: str, package: str) -> str:
    """The path of a program; without it root's test fails, and others' are skipped, saying what to install.

    `make test` installs the package where root or sudo is there, so as root nothing may go untested.
    """
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        say = f"no {name} on PATH; install it: apt-get install --no-install-recommends {package}"
        if os.geteuid() == 0:
            pytest.fail(f"{say} (or run: make tools)")
        pytest.skip(say)
    return path
