"""A real OpenSSH server for benchmarks: the one that the tests have."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from openssh import Sshd, as_account, has_a_shell, lender, openssh

SSHD = "/usr/sbin/sshd"
__all__ = ["Sshd", "as_account", "sshd"]


@contextmanager
def sshd() -> Iterator[Sshd]:
    """A server for as long as it is used; ends the benchmark where there can be none."""
    account = lender()
    if not Path(SSHD).exists() or not has_a_shell(account):
        sys.exit(f"this benchmark needs {SSHD}, and an account with a shell ({account.pw_name} has {account.pw_shell})")
    with openssh(SSHD, account) as server:
        yield server
