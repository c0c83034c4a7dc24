"""Which Hop3 is put on a target: a release, a git ref, or a local tree; and how, where a site has its own way."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_testlab.errors import UsageError

VARIABLE = "TESTLAB_HOP3"
OWN_WAY = "TESTLAB_HOP3_INSTALL"
RELEASE = "0.7.5"
"""Where nothing else is asked for: the one that the lab is tested with."""
PASSED_OVER = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__"})
_RELEASE = re.compile(r"[0-9]+(\.[0-9]+){1,3}((a|b|rc)[0-9]+)?")
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is installed, and what with."""

    release: str | None = None
    ref: str | None = None
    tree: Path | None = None
    own_way: Path | None = None
    """A script for `sh` that installs in place of Hop3's installer."""

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> Source:
        """As TESTLAB_HOP3 and TESTLAB_HOP3_INSTALL say; raises `UsageError`."""
        own_way = Path(environ[OWN_WAY]) if environ.get(OWN_WAY) else None
        if own_way is not None and not own_way.is_file():
            raise UsageError(f"{OWN_WAY}: {own_way} is not a file; name a script that installs Hop3")
        text = environ.get(VARIABLE) or RELEASE
        if "/" in text and not text.startswith("git:"):
            if not (Path(text) / "packages").is_dir():
                raise UsageError(f"{VARIABLE}: {text} is no checkout of Hop3: it has no folder packages")
            return cls(tree=Path(text), own_way=own_way)
        if text.startswith("git:") and _REF.fullmatch(text[4:]):
            return cls(ref=text[4:], own_way=own_way)
        if _RELEASE.fullmatch(text):
            return cls(release=text, own_way=own_way)
        raise UsageError(
            f"{VARIABLE}: {text!r} is neither a release ({RELEASE}), nor git:REF, nor a path to a checkout"
        )

    def __str__(self) -> str:
        if self.tree is not None:
            return f"tree {self.tree.name} {_digest(self.tree)}"
        return f"git {self.ref}" if self.ref is not None else f"release {self.release}"

    @property
    def arguments(self) -> str:
        """What the installer is told, for a shell; the values are safe in one."""
        if self.release is not None:
            return f"--from pypi --version {self.release}"
        return (
            f"--from git --branch {self.ref}" if self.ref is not None else "--from local --path /opt/testlab-hop3/tree"
        )

    @property
    def installer(self) -> str:
        """The installer as pip is asked for it: of the same release, else the newest."""
        return f"hop3-installer=={self.release}" if self.release is not None else "hop3-installer"

    @property
    def client(self) -> str:
        """The client as pip is asked for it."""
        return f"hop3-cli=={self.release or RELEASE}"

    def inputs(self) -> dict[str, str]:
        """All that decides what is installed. A ref moves, so that an install of it is good for a day."""
        found = {"hop3": str(self)}
        if self.ref is not None:
            found["day"] = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
        if self.own_way is not None:
            found["own way"] = hashlib.sha256(self.own_way.read_bytes()).hexdigest()[:16]
        return found


def _digest(tree: Path) -> str:
    """Of the content of a checkout, whatever lies in it but what tools make themselves."""
    digest = hashlib.sha256()
    for folder, names, files in os.walk(tree):
        names[:] = sorted(name for name in names if name not in PASSED_OVER)
        for name in sorted(files):
            file = Path(folder, name)
            if file.is_file():
                digest.update(os.fsencode(file.relative_to(tree)) + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
