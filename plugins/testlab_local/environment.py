"""The environment of whatever runs on a local target, from an allow-list: the lab's own has no part in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from testlab_local.processes import MARK

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""A server's own, not that of the lab's virtual environment."""
_ALLOWED = re.compile(
    r"LANG|LANGUAGE|LC_[A-Z]+|TZ"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NODE_EXTRA_CA_CERTS|GIT_SSL_CAINFO"
    r"|PIP_CERT|PIP_INDEX_URL|PIP_EXTRA_INDEX_URL|PIP_FIND_LINKS|PIP_TRUSTED_HOST|PIP_DEFAULT_TIMEOUT"
    r"|PIP_DISABLE_PIP_VERSION_CHECK|PIP_NO_INDEX"
    r"|(?i:npm_config_[a-z0-9_]+|https?_proxy|no_proxy|all_proxy)"
)
_SECRET = re.compile(r"auth|token|passw|otp|secret|_key", re.IGNORECASE)


def machine(environ: Mapping[str, str]) -> dict[str, str]:
    """What a target gets of this machine's environment: language, CA bundles, package clients, proxies.

    Package clients' tokens and passwords are left out.
    """
    return {name: value for name, value in environ.items() if _ALLOWED.fullmatch(name) and not _SECRET.search(name)}


def of_target(base: Mapping[str, str], folder: Path, user: str, word: str) -> dict[str, str]:
    """The whole environment of a command on a target."""
    return {
        "LANG": "C.UTF-8",
        **base,
        "PATH": PATH,
        "HOME": str(home(folder)),
        "TMPDIR": str(temporary(folder)),
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/sh",
        "TERM": "dumb",
        MARK: word,
    }


def home(folder: Path) -> Path:
    """HOME on a target, and where its commands start."""
    return folder / "home"


def temporary(folder: Path) -> Path:
    """TMPDIR on a target."""
    return folder / "tmp"
