"""Where a run comes from: the catalog's checkout, who asked, which version ran."""

from __future__ import annotations

import datetime as dt
import getpass
import os
import re
import subprocess
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from pytest_testlab.errors import UsageError
from pytest_testlab.model import ON_SERVER, Provenance, new_run_id
from pytest_testlab.options import Settings


def actor() -> str:
    """The user's name; "unknown" for an account without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


TRIGGER, RUN = "TESTLAB_TRIGGER", "TESTLAB_RUN"
"""How the lab's own starters say what a session is and what its run is called; no settings, and not for users."""
PYTHON = "python"
"""The trigger of `pytest_testlab.run`: as if its caller had typed the command."""
TRIGGERS: Mapping[str, Callable[[], str]] = {
    PYTHON: lambda: f"cli:{actor()}",
    "scheduled-nightly": lambda: "scheduled-nightly",
    "manual": lambda: f"manual:{actor()}",
}
"""What a starter may say → what is recorded: whoever starts a session is named by it, and not by the starter."""
_RUN_ID = re.compile(r"\d{8}-\d{4}-[a-z0-9]{4}")


def started_as(environ: MutableMapping[str, str], settings: Settings) -> tuple[str, str | None]:
    """(the trigger to record, the run's name or None), taken out of the environment, so that no child has them.

    Raises `UsageError` for what no starter of the lab says.
    """
    word, run = environ.pop(TRIGGER, ""), environ.pop(RUN, "")
    if not word and not run:
        return f"cli:{actor()}", None
    if word not in TRIGGERS:
        raise UsageError(f"{TRIGGER}: {word!r} is unknown; allowed: {', '.join(TRIGGERS)}, set by the lab itself")
    if word != PYTHON and settings.mode != "nightly":
        raise UsageError(f"{TRIGGER}: {word!r} goes with --testlab-mode nightly only, not with {settings.mode}")
    if run and not _RUN_ID.fullmatch(run):
        raise UsageError(f"{RUN}: {run!r} is no name of a run; the lab itself sets it")
    return TRIGGERS[word](), run or None


def _git(folder: Path, *arguments: str) -> str:
    """What git says, "" where there is no git or no checkout."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def provenances(
    settings: Settings, *, root: Path, provider: str, platform: str, default_image: str = ""
) -> list[Provenance]:
    """Of each image's run: those of one session have its first one's name in common, and are numbered from 2.

    Asks git, for at most 30 s. Raises `UsageError` as `started_as` does. `default_image` is what servers are made from
    where no image is named; "" where the provider doesn't say.
    """
    first = provenance(settings, root=root, provider=provider, platform=platform)
    images = settings.images
    if len(images) == 1:
        return [replace(first, image=first.image or default_image)]
    names = [first.run, *(f"{first.run}-{number}" for number in range(2, len(images) + 1))]
    return [replace(first, run=name, image=image, session=first.run) for name, image in zip(names, images, strict=True)]


def provenance(settings: Settings, *, root: Path, provider: str, platform: str) -> Provenance:
    """Everything that makes a run comparable, taken down as it starts. Asks git, for at most 30 s.

    Raises `UsageError` as `started_as` does.
    """
    trigger, run = started_as(os.environ, settings)
    now = dt.datetime.now(dt.UTC)
    sha = _git(root, "rev-parse", "HEAD")
    return Provenance(
        run=run or new_run_id(now),
        mode=ON_SERVER if settings.on else settings.mode,
        trigger=trigger,
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
