"""Where a run comes from: the catalog's checkout, who asked, which version ran."""

from __future__ import annotations

import datetime as dt
import getpass
import subprocess
from importlib.metadata import version
from pathlib import Path

from pytest_testlab.model import Provenance, new_run_id
from pytest_testlab.options import Settings


def actor() -> str:
    """The user's name; "unknown" for an account without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    """What git says, "" where there is no git or no checkout."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def provenance(settings: Settings, *, root: Path, provider: str, platform: str) -> Provenance:
    """Everything that makes a run comparable, taken down as it starts. Asks git, for at most 30 s."""
    now = dt.datetime.now(dt.UTC)
    sha = _git(root, "rev-parse", "HEAD")
    return Provenance(
        run=new_run_id(now),
        mode=settings.mode,
        trigger=f"cli:{actor()}",
        actor=actor(),
        platform=platform,
        provider=provider,
        image=settings.image,
        branch=settings.branch or _git(root, "branch", "--show-current"),
        sha=sha,
        dirty=bool(sha and _git(root, "status", "--porcelain", "--untracked-files=no")),
        runner_version=version("pytest-testlab"),
        pool=settings.pool,
        budget_s=settings.budget,
        started_at=now,
        sources={"catalog": sha} if sha else {},
    )
