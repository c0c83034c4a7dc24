"""The stand-in as a whole: started, told to misbehave, asked what happened and what is left, ended."""

from __future__ import annotations

import json
import secrets
import threading
from collections import Counter
from dataclasses import asdict
from types import TracebackType
from typing import Any

from standin.clock import Agenda, Clock
from standin.cloud import Cloud
from standin.faults import Fault, Kind, Plan
from standin.hosts import Hosts, NoHosts
from standin.routes import Routes
from standin.rules import ApiError
from standin.serving import QUOTA, Api, Door, Entry, Quota
from standin.shapes import Shapes, shapes


class StandIn:
    """A cloud on loopback. A context manager; `close` ends it with its hosts."""

    def __init__(
        self,
        hosts: Hosts | None = None,
        *,
        speed: float = 1.0,
        seed: int = 0,
        quota: int = QUOTA,
        port: int = 0,
        check: Shapes | None = None,
    ) -> None:
        """`speed`: how many of the cloud's seconds go into one of ours. Answers are checked where they can be."""
        self.hosts = hosts if hosts is not None else NoHosts()
        self.token = secrets.token_hex(32)
        self.clock = Clock(speed, seed)
        self.plan = Plan(self.clock)
        self._agenda = Agenda()
        self.cloud = Cloud(self.hosts, self.clock, self.plan, self._agenda)
        checks = check if check is not None else shapes()
        self.api = Api(Routes(self.cloud), self.plan, self.token, checks, Quota(quota))
        self._lock = threading.Lock()
        self._over = False
        self._door = self._open(port)
        self.port = int(self._door.server_address[1])

    @property
    def endpoint(self) -> str:
        """What clients call the API's address."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def ssh_port(self) -> int:
        """Where every server's sshd listens: 22 only where the hosts can have that."""
        return self.hosts.ssh_port

    @property
    def environ(self) -> dict[str, str]:
        """What points clients at it."""
        return {
            "HCLOUD_ENDPOINT": self.endpoint,
            "HCLOUD_TOKEN": self.token,
            "TESTLAB_HETZNER_SSH_PORT": str(self.ssh_port),
        }

    def __enter__(self) -> StandIn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering, end the hosts, leave nothing."""
        with self._lock:
            self._over = True
            self._shut()
        self._agenda.close()
        self.hosts.close()

    # --- misbehaving

    def misbehave(self, fault: Fault) -> None:
        """Let something go wrong from now on."""
        self.plan.add(fault)
        if fault.kind is Kind.CLOSED:
            with self._lock:
                self._shut()
            if fault.seconds != float("inf"):
                self._agenda.after(self.clock.ours(fault.seconds), self._reopen)

    def behave(self) -> None:
        """Nothing more goes wrong; what did stays so."""
        self.plan.clear()
        self._reopen()

    # --- what was, and what is

    @property
    def log(self) -> list[Entry]:
        """Every request to the API so far."""
        return list(self.api.log)

    def counts(self) -> Counter[str]:
        """How many requests of each kind: "GET /servers", with `{id}` for numbers."""
        return Counter(_kind(entry) for entry in self.log)

    def left(self) -> dict[str, list[str]]:
        """Servers, addresses, snapshots, keys, networks, and the hosts behind them."""
        return {**self.cloud.left(), "hosts": self.hosts.left()}

    # --- the inside

    def _open(self, port: int) -> Door:
        door = Door(self.api, self._admin, port)
        threading.Thread(target=door.serve_forever, args=(0.05,), name="standin-door", daemon=True).start()
        return door

    def _shut(self) -> None:
        self._door.shutdown()
        self._door.server_close()
        self._door.cut()

    def _reopen(self) -> None:
        with self._lock:
            if not self._over and self._door.socket.fileno() == -1:
                self._door = self._open(self.port)

    def _admin(self, method: str, path: str, raw: bytes, token: str) -> tuple[int, object]:
        """`/standin/…`, for who runs it from another process; with the same token, and not counted."""
        if token != f"Bearer {self.token}":
            return 401, {"error": "the token is missing"}
        try:
            return 200, self._administer(f"{method} {path}", raw)
        except (ApiError, KeyError, TypeError, ValueError) as error:
            return 400, {"error": str(error)}

    def _administer(self, what: str, raw: bytes) -> Any:
        match what:
            case "POST /standin/faults":
                told = json.loads(raw)
                self.misbehave(Fault(**told))
            case "DELETE /standin/faults":
                self.behave()
            case "GET /standin/faults":
                return {"waiting": [str(fault) for fault in self.plan.left()], "struck": dict(self.plan.struck)}
            case "GET /standin/log":
                return {"log": [asdict(entry) for entry in self.log], "mismatches": self.api.mismatches}
            case "GET /standin/left":
                return self.left()
            case _:
                raise ValueError(f"no {what} here; there are /standin/faults, /standin/log, /standin/left")
        return {}


def _kind(entry: Entry) -> str:
    path = entry.path.partition("?")[0]
    return f"{entry.method} " + "/".join("{id}" if part.isdecimal() else part for part in path.split("/"))
