"""Turns an entry's [env] into the values that its app gets. Secrets come from the environment or from files.

The environment's secrets are taken out of it before anything is started, so that no child inherits them.
"""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_testlab.catalog.readers import Refused
from pytest_testlab.catalog.values import secret_name
from pytest_testlab.errors import UsageError
from pytest_testlab.model import Generated, SecretRef, Subject

PREFIX = "TESTLAB_SECRET_"
LARGEST = 64 * 1024
"""Bytes of a secret's file."""
LEAST = 4
"""Characters of a secret. A shorter one stands in every second line, where masking it would tell it."""
LETTERS = string.ascii_letters + string.digits
SecretLookup = Callable[[str], str]
"""Name → value; raises `UsageError` that says where it was looked for."""


def harvest_environ(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Take every TESTLAB_SECRET_* out of an environment, and return them by their whole names."""
    return {name: environ.pop(name) for name in [name for name in environ if name.startswith(PREFIX)]}


@dataclass(frozen=True, kw_only=True)
class SecretSource:
    """Where secrets are looked for; called with a name, returns its value."""

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What `harvest_environ` returned."""
    folder: Path | None = None
    """The setting `testlab_secrets_dir`."""

    def __call__(self, name: str) -> str:
        """The value of a secret; raises `UsageError` that names both places when it is in neither."""
        try:
            variable = PREFIX + secret_name(name).upper().replace("-", "_")
        except Refused as refused:
            raise UsageError(f"a secret's name: {refused}") from None
        value = self.environ.get(variable)
        if value is None:
            value = None if self.folder is None else _from_file(self.folder / name)
        if value is None:
            folder = "a folder named by testlab_secrets_dir (not set)" if self.folder is None else str(self.folder)
            raise UsageError(
                f'the secret "{name}" is missing: set {variable}, or put it in the file {name} in {folder}'
            )
        if not value or "\0" in value:
            raise UsageError(f'the secret "{name}" {"holds the character U+0000" if value else "is empty"}')
        if len(value) < LEAST:
            raise UsageError(
                f'the secret "{name}" has fewer than {LEAST} characters and can\'t be masked in logs: make it longer, '
                "or put it into [env] as it is, if it is no secret"
            )
        return value


def _from_file(file: Path) -> str | None:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UsageError(f"{file} is larger than {LARGEST // 1024} KiB: too large for a secret")
        text = data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}") from None
    return text.removesuffix("\n").removesuffix("\r")


def resolve_env(subject: Subject, lookup: SecretLookup) -> tuple[dict[str, str], frozenset[str]]:
    """(the environment of an entry's tests in clear, those of its values that must be masked).

    Generated values are new at each call. Raises whatever `lookup` raises for a secret that it doesn't know.
    """
    env: dict[str, str] = {}
    masked: set[str] = set()
    for key, value in subject.env.items():
        if isinstance(value, str):
            env[key] = value
            continue
        env[key] = lookup(value.name) if isinstance(value, SecretRef) else _generate(value)
        masked.add(env[key])
    return env, frozenset(masked)


def _generate(value: Generated) -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(value.length))


def require_all(subjects: Iterable[Subject], lookup: SecretLookup) -> dict[str, str]:
    """Name → value of every secret that entries refer to; raises one `UsageError` with a line for each missing one.

    The result's `__getitem__` is a `SecretLookup` for a process that must not see the sources.
    """
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for subject in subjects:
        for key, value in subject.env.items():
            if isinstance(value, SecretRef) and value.name not in found and value.name not in missing:
                try:
                    found[value.name] = lookup(value.name)
                except UsageError as error:
                    missing[value.name] = f"{subject.name}: {key}: {error}"
    if missing:
        raise UsageError("\n".join(missing.values()))
    return found
