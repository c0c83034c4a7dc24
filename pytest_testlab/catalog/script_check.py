"""A check by a script on the lab host: a process group of its own, an environment from an allow-list, a deadline."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import psutil

from pytest_testlab.catalog.transcript import one_line
from pytest_testlab.errors import CheckFailed, InfraError
from pytest_testlab.model import Deployment, ScriptCheck
from pytest_testlab.protocols import Observer
from pytest_testlab.target.commands import Tail

if TYPE_CHECKING:
    from pytest_testlab.target.names import NamesProxy

OUTPUT_BYTES = 64 * 1024
"""The end of a script's output that is kept."""
MARK = "TESTLAB_CHECK"
"""Set for all that a script starts, so that what left its process group is found too."""
BACKSTOP_S = 5
"""Beyond its deadline a script is ended even if the lab was killed meanwhile."""
_ALLOWED = re.compile(
    r"PATH|LANG|LANGUAGE|LC_[A-Z]+|TZ"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NODE_EXTRA_CA_CERTS|GIT_SSL_CAINFO"
    r"|PIP_CERT|PIP_INDEX_URL|PIP_TRUSTED_HOST|PIP_DISABLE_PIP_VERSION_CHECK"
    r"|(?i:npm_config_(?:registry|cafile|strict_ssl))|PLAYWRIGHT_BROWSERS_PATH"
)


class ScriptRunner:
    """Runs the script checks of one entry."""

    def __init__(self, deployment: Deployment, names: NamesProxy, observe: Observer) -> None:
        self._deployment = deployment
        self._names = names
        self._observe = observe

    def run(self, step: int, check: ScriptCheck, within_s: float) -> None:
        """Run it in a fresh folder of its own; raises `CheckFailed` when it doesn't exit with 0 in time."""
        file = self._deployment.app.entry.folder / check.script
        self._observe.conceal(*self._names.secret_values)
        with tempfile.TemporaryDirectory(prefix="testlab-check-", ignore_cleanup_errors=True) as scratch:
            try:
                code, output = run_bounded(_command_line(file), scratch, self.environment(scratch), within_s)
            except (OSError, ValueError) as error:  # a shebang with an open quote or a NUL in it, too
                got = f"it can't be started: {getattr(error, 'strerror', None) or error}"
                raise CheckFailed(step, check.name, "exit code 0", got) from error
        self._observe.write("check", output + b"\n" if output else b"(it printed nothing)\n")
        if code is None:
            got = f"no end within {within_s:g} s{_last_lines(output, '; it last said: ')}"
            raise CheckFailed(step, check.name, "exit code 0", got, deadline_s=within_s)
        if code != 0:
            raise CheckFailed(step, check.name, "exit code 0", f"exit code {code}{_last_lines(output, ': ')}")

    def environment(self, scratch: str) -> dict[str, str]:
        """What a script gets: the app's [env], APP_URL and the proxy that leads there; nothing of the lab's secrets."""
        kept = {name: value for name, value in os.environ.items() if _ALLOWED.fullmatch(name)}
        own = {
            # `python3` in a shebang is the lab's own, as it is without one
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", os.defpath))),
            "HOME": scratch,
            "TMPDIR": scratch,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        proxies = self._names.environ(self._deployment.url) if self._deployment.app.entry.deploys else {}
        return {"LANG": "C.UTF-8", **kept, **self._deployment.app.env, **own, **proxies}


def _command_line(file: Path) -> list[str]:
    """By its shebang if it has one, executable or not; else by the lab's Python."""
    with file.open("rb") as script:
        first = script.readline(256).decode(errors="replace")
    if not first.startswith("#!"):
        return [sys.executable, str(file)]
    if os.access(file, os.X_OK):
        return [str(file)]
    return [*shlex.split(first[2:]), str(file)]


def run_bounded(
    command: list[str], cwd: str, environment: Mapping[str, str], within_s: float
) -> tuple[int | None, bytes]:
    """Run a command and all that it starts for at most `within_s` seconds: (exit code, the end of its output).

    The exit code is None when the time was up; whatever it started is gone when this returns. Raises `OSError` when
    it can't be started, `InfraError` when something of it can't be killed.
    """
    word = secrets.token_hex(8)
    tail = Tail(OUTPUT_BYTES)
    _refuse_unstartable(command, environment)
    process = subprocess.Popen(
        _backstopped(command, within_s),
        cwd=cwd,
        env={**environment, MARK: word},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    reader = threading.Thread(target=_drain, args=(cast("IO[bytes]", process.stdout), tail), daemon=True)
    reader.start()
    try:
        code = process.wait(within_s)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _kill_all(process, word)
        reader.join(2.0)
    return code, bytes(tail)


def _refuse_unstartable(command: list[str], environment: Mapping[str, str]) -> None:
    """Raise `OSError` for a program that isn't there: behind `timeout` it would look like the script's own end."""
    if shutil.which(command[0], path=environment.get("PATH")) is None:
        raise FileNotFoundError(2, f"there is no program {command[0]}")


def _backstopped(command: list[str], within_s: float) -> list[str]:
    if shutil.which("timeout") is None:
        return command
    return ["timeout", "-k", "2", f"{within_s + BACKSTOP_S:.3f}", *command]


def _drain(pipe: IO[bytes], tail: Tail) -> None:
    with pipe:
        while chunk := os.read(pipe.fileno(), 65_536):
            tail.add(chunk)


def _kill_all(process: subprocess.Popen[bytes], word: str) -> None:
    """Kill the group, and whatever left it, until nothing is found."""
    deadline = time.monotonic() + 5.0
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    while left := [found for found in psutil.process_iter() if _is_marked(found, word)]:
        if time.monotonic() > deadline:
            raise InfraError(f"processes of a script check can't be killed: {', '.join(str(p.pid) for p in left)}")
        for found in left:
            with contextlib.suppress(psutil.Error):
                found.kill()
        time.sleep(0.01)


def _is_marked(process: psutil.Process, word: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == word
    except (psutil.Error, OSError):
        return False


def _last_lines(output: bytes, before: str) -> str:
    lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
    return before + " | ".join(one_line(line) for line in lines[-3:]) if lines else ""
