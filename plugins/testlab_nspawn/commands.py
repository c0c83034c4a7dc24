"""The machine's own programs, each called with a deadline and nothing of the lab's environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from pytest_testlab.errors import InfraError, UsageError, ending

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKAGES = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
}
"""Program → the package of Debian that has it."""
_SAID = 600


def environ() -> dict[str, str]:
    """What these programs get: a path and a language."""
    return {"PATH": PATH, "LANG": "C.UTF-8"}


def check_machine() -> None:
    """Raises `UsageError` in one line that says what this machine lacks for hosts of systemd-nspawn."""
    if sys.platform != "linux":
        raise UsageError("the provider nspawn needs Linux; the provider local runs here too")
    if os.geteuid() != 0:
        raise UsageError("the provider nspawn needs root: it mounts, and makes networks; the provider local needs none")
    missing = sorted({package for program, package in PACKAGES.items() if shutil.which(program, path=PATH) is None})
    if missing:
        how = f"apt-get install {' '.join(missing)}"
        raise UsageError(f"the provider nspawn needs programs that are not here; install Debian's packages: {how}")


def call(
    *command: str,
    within_s: float,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> str:
    """Run a program to its end and return what it printed; raises `InfraError` with what it said."""
    doing = " ".join(command[:3])
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within_s,
            check=False,
            env={**environ(), **(env or {})},
            cwd="/",
            pass_fds=pass_fds,
        )
    except subprocess.TimeoutExpired:
        raise InfraError(f"{doing}: no end within {within_s:g} s") from None
    except OSError as error:
        raise InfraError(f"{doing}: {error}") from error
    if done.returncode != 0:
        said = ending((done.stderr.strip() or done.stdout.strip() or "it said nothing").replace("\n", "; "), _SAID)
        raise InfraError(f"{doing}: exit code {done.returncode}: {said}")
    return done.stdout
