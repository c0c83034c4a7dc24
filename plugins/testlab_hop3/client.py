"""The published `hop3` client, as a user has it: in an environment of the lab's own, with a configuration a server."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_testlab.catalog.script_check import run_bounded
from pytest_testlab.errors import InfraError
from pytest_testlab.model import Server

FETCH_WITHIN_S = 300.0
LOGIN_WITHIN_S = 90.0
TOKEN_LASTS_S = 12 * 3600.0
"""Half of what Hop3 gives a token."""
KEPT = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


def ensure(home: Path, package: str) -> Path:
    """The program, fetched by pip once for all processes; raises `InfraError`."""
    folder = home / "hop3" / package.replace("==", "-")
    program = folder / "bin" / "hop3"
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock")):
        if not program.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            for command in (
                [sys.executable, "-m", "venv", str(folder)],
                [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", package],
            ):
                _fetch(command, package, folder)
    return program


def _fetch(command: list[str], package: str, folder: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_WITHIN_S, check=False)
        said, failed = done.stderr, done.returncode != 0
    except (OSError, subprocess.TimeoutExpired) as error:
        said, failed = str(error), True
    if failed:
        shutil.rmtree(folder, ignore_errors=True)
        raise InfraError(f"the client of Hop3 ({package}) can't be fetched: {' '.join(said.split())[-300:]}")


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command of the client came to."""

    code: int | None
    """None when its time was up."""
    output: bytes

    @property
    def text(self) -> str:
        """What it said."""
        return self.output.decode(errors="replace")

    @property
    def last(self) -> str:
        """The end of it, as a line."""
        return " ".join(self.text.split())[-400:] or "it said nothing"


class Client:
    """The client with the key to one server, which is given up with it. The folder is this process's alone."""

    def __init__(self, program: Path, server: Server) -> None:
        """Raises `InfraError` for a server that no client could reach."""
        if server.ssh is None or server.ssh.jump is not None:
            how = "no SSH leads there" if server.ssh is None else "only a jump host leads there"
            raise InfraError(f"{server.name}: the client of Hop3 can't reach it: {how}")
        if shutil.which("ssh") is None:
            raise InfraError("the client of Hop3 needs the program ssh on the lab host (Debian: openssh-client)")
        self._program, self._address = program, server.ssh
        self._folder = tempfile.TemporaryDirectory(prefix="testlab-hop3-", ignore_cleanup_errors=True)
        self._logged_in = 0.0
        place = Path(self._folder.name)
        name = self._address.host if self._address.port == 22 else f"[{self._address.host}]:{self._address.port}"
        (place / "known_hosts").write_text(f"{name} {self._address.host_key}\n")
        (place / "key").touch(mode=0o600)
        (place / "key").write_text(self._address.private_key)

    def close(self) -> None:
        """Remove its folder, with key and token."""
        self._folder.cleanup()

    def login(self) -> None:
        """Get a token, unless there is one that lasts; raises `InfraError`."""
        if self._logged_in and time.monotonic() - self._logged_in < TOKEN_LASTS_S:
            return
        there = f"{self._address.user}@{self._address.host}:{self._address.port}"
        said = self._call("login", there, within_s=LOGIN_WITHIN_S)
        if said.code != 0:
            raise InfraError(f"hop3 login {there} failed: {said.last}")
        self._logged_in = time.monotonic()

    def __call__(self, *words: str, within_s: float) -> Said:
        """Run a command of the client; raises `InfraError` where it can't log in."""
        self.login()
        return self._call(*words, within_s=within_s)

    def _call(self, *words: str, within_s: float) -> Said:
        code, output = run_bounded([str(self._program), *words], self._folder.name, self.environ(), within_s)
        return Said(code=code, output=output)

    @property
    def python(self) -> str:
        """The Python that the client runs on."""
        return str(self._program.with_name("python"))

    @property
    def host(self) -> str:
        """The server's address."""
        return self._address.host

    def environ(self) -> Mapping[str, str]:
        """What the client runs in, and whatever calls it."""
        place = self._folder.name
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return {
            **kept,
            "PATH": f"{self._program.parent}{os.pathsep}{kept.get('PATH', os.defpath)}",
            "HOME": place,
            "HOP3_CONFIG_DIR": place,
            "HOP3_SSH_KEY": f"{place}/key",
            "HOP3_SSH_OPTIONS": f"UserKnownHostsFile={place}/known_hosts",
            "HOP3_NO_INPUT": "1",
        }
