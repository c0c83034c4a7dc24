"""Hosts that need no root: a folder each, and a real SSH server at an address of its own in 127.0.0.0/8.

All of them live in one process (`standin.sshds`), which ends them and removes their folders as soon as nobody holds its
standard input any more, however that came about.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

from testlab_local import ports

from standin.hosts import HostFailed, Spec

ANSWER_WITHIN_S = 60.0
END_WITHIN_S = 30.0


class LoopbackHosts:
    """Commands run on this machine with no isolation, as root's `nobody` or the user itself, whoever logs in.

    Of cloud-init's data only the keys are followed; `cloud-init status --wait` waits as long as it takes.
    """

    def __init__(self) -> None:
        self.ssh_port = _port()
        self._random = random.SystemRandom()
        self._taken: set[str] = set()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        # By path: where the stand-in came from must be found by its child too.
        path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "standin.sshds", str(self.ssh_port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            cwd="/",
            start_new_session=True,  # Ctrl-C in the terminal is for the stand-in, which ends it in order
        )
        self._reader = threading.Thread(target=self._read, name="standin-hosts", daemon=True)
        self._reader.start()
        self.left()  # so that nobody's boot waits for this process to come up

    @property
    def pid(self) -> int:
        """Of the process in which all of them live."""
        return self._child.pid

    def new_address(self) -> str:
        """One that nobody listens on; raises `HostFailed`."""
        with self._lock:
            for _ in range(100):
                address = (
                    f"127.{self._random.randint(64, 127)}.{self._random.randint(0, 255)}.{self._random.randint(1, 254)}"
                )
                if address not in self._taken and _is_free(address, self.ssh_port):
                    self._taken.add(address)
                    return address
        raise HostFailed("no address is free")

    def free_address(self, address: str) -> None:
        """Another host may have it."""
        with self._lock:
            self._taken.discard(address)

    def make(self, spec: Spec) -> None:
        """A new folder, or a copy of a snapshot's."""
        self._ask("make", spec=asdict(spec))

    def start(self, server: int) -> None:
        """Its sshd opens a fifth into cloud-init's time."""
        self._ask("start", server=server)

    def stop(self, server: int) -> None:
        """Close its sshd and kill what runs there."""
        self._ask("stop", server=server)

    def remove(self, server: int) -> None:
        """Stop it, and remove its folder."""
        self._ask("remove", server=server)

    def snapshot(self, server: int, snapshot: int) -> None:
        """Copy its folder."""
        self._ask("snapshot", server=server, snapshot=snapshot)

    def forget(self, snapshot: int) -> None:
        """Remove the copy."""
        self._ask("forget", snapshot=snapshot)

    def left(self) -> list[str]:
        """Folders of servers and snapshots."""
        return list(self._ask("left"))

    def close(self) -> None:
        """Let go of the hosts' process, which leaves nothing."""
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is self._child.stdin and pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._child.wait(END_WITHIN_S)
        self._reader.join()
        cast("IO[bytes]", self._child.stdout).close()

    def _ask(self, do: str, **what: Any) -> Any:
        answer: Future[Any] = Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = answer
            try:
                stdin = cast("IO[bytes]", self._child.stdin)
                stdin.write(json.dumps({"number": number, "do": do, "what": what}).encode() + b"\n")
                stdin.flush()
            except (OSError, ValueError) as error:
                raise HostFailed(f"the hosts' process is gone: {error}") from error
        return answer.result(ANSWER_WITHIN_S)

    def _read(self) -> None:
        for line in cast("IO[bytes]", self._child.stdout):
            said = json.loads(line)
            with self._lock:
                answer = self._waiting.pop(said["number"])
            if said["error"] is None:
                answer.set_result(said["result"])
            else:
                answer.set_exception(HostFailed(said["error"]))
        with self._lock:
            left, self._waiting = self._waiting, {}
        for answer in left.values():
            answer.set_exception(HostFailed("the hosts' process ended"))


def _port() -> int:
    low, high = ports.ephemeral()
    some = [port for port in range(2000, 20_000) if not low <= port <= high]
    random.SystemRandom().shuffle(some)
    return next(port for port in some if _is_free("0.0.0.0", port))


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
