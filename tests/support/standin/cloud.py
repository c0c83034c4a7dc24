"""What there is in the project, and the actions on it."""

from __future__ import annotations

import ipaddress
import itertools
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from standin import offer
from standin.clock import Agenda, Clock, now
from standin.faults import Kind, Plan
from standin.hosts import HostFailed, Hosts
from standin.rules import ApiError, invalid, not_found, whole

log = logging.getLogger("standin")
Json = dict[str, Any]
FIRST_ID = 4_000_001
GOING_WITHIN_S = 60.0


@dataclass(kw_only=True)
class Server:
    """A server as the API shows it, and what the API doesn't show."""

    data: Json
    user_data: str
    ssh_keys: list[str]
    networks: list[int]
    running: set[int] = field(default_factory=set)
    """Actions: while there are any it is locked."""
    stuck: bool = False
    """It stays `initializing` for ever."""

    @property
    def id(self) -> int:
        """Its number."""
        return int(self.data["id"])

    @property
    def name(self) -> str:
        """Its name, which is unique among servers."""
        return str(self.data["name"])

    def shown(self) -> Json:
        """As the API shows it."""
        return {**self.data, "locked": bool(self.running)}


@dataclass(kw_only=True)
class Task:
    """An action, and what it comes to."""

    action: Json
    server: Server | None
    then: Callable[[], object]
    otherwise: Callable[[], object]
    """If it fails."""
    fate: Kind | None


class Cloud:
    """The project: all of it is read and changed under `lock`; hosts are touched by tasks, outside of it."""

    def __init__(self, hosts: Hosts, clock: Clock, plan: Plan, agenda: Agenda) -> None:
        self.hosts, self.clock, self.plan, self.agenda = hosts, clock, plan, agenda
        self.lock = threading.RLock()
        self._gone = threading.Condition(self.lock)
        self.going: set[int] = set()
        """Servers that are gone, and whose hosts aren't yet."""
        self._ids = itertools.count(FIRST_ID)
        self.servers: dict[int, Server] = {}
        self.actions: dict[int, Json] = {}
        self._endless: list[Task] = []
        self.images: dict[int, Json] = {image["id"]: image for image in offer.system_images()}
        self.ssh_keys: dict[int, Json] = {}
        self.primary_ips: dict[int, Json] = {}
        self.networks: dict[int, Json] = {}
        self.locations: dict[int, Json] = {place["id"]: place for place in offer.LOCATIONS.values()}
        self.server_types: dict[int, Json] = {kind["id"]: kind for kind in offer.SERVER_TYPES.values()}

    def new_id(self) -> int:
        """A number that nothing has."""
        return next(self._ids)

    # --- actions

    def begin(
        self,
        command: str,
        server: Server | None,
        then: Callable[[], object],
        *,
        otherwise: Callable[[], object] = lambda: None,
        resources: Iterable[tuple[str, int]] = (),
    ) -> Task:
        """A running action; `due` says when it ends. Plans of failure are drawn here."""
        on = [*([("server", server.id)] if server else []), *resources]
        action: Json = {
            "id": self.new_id(),
            "command": command,
            "status": "running",
            "progress": 0,
            "started": now(),
            "finished": None,
            "resources": [{"id": number, "type": kind} for kind, number in on],
            "error": None,
        }
        self.actions[action["id"]] = action
        facts = {"command": command, "name": server.name if server else ""}
        fault = self.plan.take(Kind.FAILED_ACTION, Kind.ENDLESS_ACTION, **facts)
        if server is not None:
            server.running.add(action["id"])
        return Task(
            action=action, server=server, then=then, otherwise=otherwise, fate=fault.kind if fault is not None else None
        )

    def due(self, task: Task, seconds: float) -> Json:
        """Have it end after that many of our seconds, or never; returns the action."""
        if task.fate is Kind.ENDLESS_ACTION:
            self._endless.append(task)
        else:
            self.agenda.after(seconds, lambda: self._end(task))
        return task.action

    def let_go(self) -> None:
        """Somebody of the cloud's own staff looks after actions that would never end: they have failed now."""
        with self.lock:
            stuck, self._endless = self._endless, []
        for task in stuck:
            self._end(task)

    def _end(self, task: Task) -> None:
        error = {"code": "action_failed", "message": "Action failed"} if task.fate else None
        if error is None:
            try:
                task.then()
            except Exception as failure:
                if not isinstance(failure, HostFailed):
                    log.exception("the stand-in itself is at fault")
                error = {"code": "action_failed", "message": f"Action failed: {failure}"}
        with self.lock:
            if error is not None:
                task.otherwise()
            if task.server is not None:
                task.server.running.discard(task.action["id"])
            status = "error" if error else "success"
            task.action.update(status=status, error=error, progress=100, finished=now())

    # --- finding

    def server(self, key: object) -> Server:
        """By id; raises `ApiError`."""
        found = self.servers.get(whole(key, "id"))
        if found is None:
            raise not_found("server", key)
        return found

    def unlocked(self, key: object) -> Server:
        """A server on which nothing runs; raises `ApiError`."""
        found = self.server(key)
        if found.running:
            raise ApiError(423, "locked", "server is locked")
        return found

    def named(self, kind: str, key: object) -> Json:
        """A resource by its id or its name, as creates take them; raises `ApiError`."""
        shelf: dict[int, Json] = getattr(self, f"{kind}s")
        if str(key).isdecimal() and int(str(key)) in shelf:
            return shelf[int(str(key))]
        for one in shelf.values():
            if one["name"] is not None and one["name"] == key:
                return one
        raise not_found(kind, key)

    def check_unique(self, kind: str, name: str, but: int | None = None) -> None:
        """Raises `ApiError` where another one has the name."""
        shelf: dict[int, Any] = getattr(self, f"{kind}s")
        for number, one in shelf.items():
            if number != but and (one.name if isinstance(one, Server) else one["name"]) == name:
                raise ApiError(409, "uniqueness_error", f"{kind} name is already used", {"fields": [{"name": "name"}]})

    # --- addresses

    def new_primary_ip(self, body: Json, *, location: Json, assignee: int | None = None) -> Json:
        """An address of its own."""
        number, version = self.new_id(), body["type"]
        address = (
            self.hosts.new_address() if version == "ipv4" else f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::/64"
        )
        made = {
            "id": number,
            "name": body.get("name") or f"primary_ip-{number}",
            "type": version,
            "ip": address,
            "labels": body.get("labels", {}),
            "assignee_type": "server",
            "assignee_id": assignee,
            "auto_delete": bool(body.get("auto_delete", False)),
            "blocked": False,
            "created": now(),
            "dns_ptr": [{"ip": address, "dns_ptr": f"static.{number}.clients.test"}] if version == "ipv4" else [],
            "protection": {"delete": False},
            "location": location,
        }
        self.primary_ips[number] = made
        return made

    def drop_primary_ip(self, number: int) -> None:
        """Give an address back."""
        self.free(self.primary_ips.pop(number))

    def free(self, primary_ip: Json) -> None:
        """Others may have the address of one that is gone."""
        if primary_ip["type"] == "ipv4":
            self.hosts.free_address(primary_ip["ip"])

    def new_private_ip(self, network: Json) -> str:
        """The next free address of a network; raises `ApiError`."""
        if not network["subnets"]:
            raise ApiError(422, "no_subnet_available", "network has no subnet")
        taken = {
            net["ip"]
            for server in self.servers.values()
            for net in server.data["private_net"]
            if net["network"] == network["id"]
        }
        hosts = ipaddress.IPv4Network(network["subnets"][0]["ip_range"]).hosts()
        for address in itertools.islice(hosts, 1, None):  # the first is the gateway's
            if str(address) not in taken:
                return str(address)
        raise ApiError(403, "resource_limit_exceeded", "no free address in the network")

    def went(self, server: int) -> None:
        """The host of a server that is gone is gone, too."""
        with self.lock:
            self.going.discard(server)
            self._gone.notify_all()

    def left(self) -> dict[str, list[str]]:
        """What of the project costs money, or would be in the way; hosts that are about to go are waited for."""
        with self.lock:
            self._gone.wait_for(lambda: not self.going, GOING_WITHIN_S)
            return {
                "servers": [server.name for server in self.servers.values()],
                "primary_ips": [ip["name"] for ip in self.primary_ips.values()],
                "snapshots": [str(one["id"]) for one in self.images.values() if one["type"] != "system"],
                "ssh_keys": [key["name"] for key in self.ssh_keys.values()],
                "networks": [network["name"] for network in self.networks.values()],
            }


def check_version(value: object) -> str:
    """`ipv4` or `ipv6`; raises `ApiError`."""
    if value not in ("ipv4", "ipv6"):
        raise invalid("type", "must be ipv4 or ipv6")
    return str(value)
