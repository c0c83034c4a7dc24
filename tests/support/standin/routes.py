"""Which request is answered by what. The templates of paths are those of the API's own description."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from standin import offer
from standin.cloud import Cloud, Json
from standin.rules import ApiError, Query
from standin.servers import Servers
from standin.shelves import Shelves


@dataclass(frozen=True, kw_only=True)
class Request:
    """What somebody asks; the path is what comes after `/v1`."""

    method: str
    path: str
    query: Query
    body: Json


Answer = tuple[int, Json | None]
Do = Callable[[Request, Mapping[str, str]], Answer]

KINDS = {
    "servers": "server",
    "images": "image",
    "ssh_keys": "ssh_key",
    "primary_ips": "primary_ip",
    "networks": "network",
    "locations": "location",
    "server_types": "server_type",
}
_READ_ONLY = ("locations", "server_types")
_WITH_ACTIONS = ("servers", "images", "primary_ips")


class Routes:
    """Finds the answer to a request, and the template of its path."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._servers, self._shelves = Servers(cloud), Shelves(cloud)
        self._table: list[tuple[str, str, re.Pattern[str], Do]] = []
        self._add_servers()
        for plural, singular in KINDS.items():
            self._add_kind(plural, singular)
        self._add_rest()

    def answer(self, request: Request) -> Answer:
        """Carry it out; raises `ApiError`."""
        _, do, found = self._find(request)
        with self._cloud.lock:
            return do(request, found)

    def template(self, request: Request) -> str | None:
        """The template of its path, `/servers/{id}`; None where there is none."""
        try:
            return self._find(request)[0]
        except ApiError:
            return None

    def _find(self, request: Request) -> tuple[str, Do, Mapping[str, str]]:
        for method, template, pattern, do in self._table:
            if method == request.method and (found := pattern.fullmatch(request.path)):
                return template, do, found.groupdict()
        raise ApiError(404, "not_found", f"the stand-in has no {request.method} {request.path}")

    def _add(self, method: str, template: str, do: Do) -> None:
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
        self._table.append((method, template, re.compile(pattern), do))

    def _add_servers(self) -> None:
        self._add("POST", "/servers", lambda request, _: self._servers.create(request.body))
        self._add("DELETE", "/servers/{id}", lambda _, has: self._servers.delete(has["id"]))
        for verb in ("poweron", "poweroff", "shutdown", "reboot", "reset", "rebuild", "create_image"):
            self._add("POST", f"/servers/{{id}}/actions/{verb}", self._acting(verb))

    def _acting(self, verb: str) -> Do:
        return lambda request, has: self._servers.act(has["id"], verb, request.body)

    def _add_kind(self, plural: str, singular: str) -> None:
        shelves = self._shelves
        if plural in _WITH_ACTIONS:
            at = f"/{plural}"
            self._add("GET", f"{at}/actions", lambda request, _: shelves.actions_on(singular, None, request.query))
            self._add("GET", f"{at}/actions/{{id}}", lambda _, has: shelves.action_on(singular, None, has["id"]))
            self._add(
                "GET",
                f"{at}/{{id}}/actions",
                lambda request, has: shelves.actions_on(singular, has["id"], request.query),
            )
            self._add(
                "GET",
                f"{at}/{{id}}/actions/{{action_id}}",
                lambda _, has: shelves.action_on(singular, has["id"], has["action_id"]),
            )
        self._add("GET", f"/{plural}", lambda request, _: shelves.list(plural, request.query))
        self._add("GET", f"/{plural}/{{id}}", lambda _, has: shelves.get(singular, has["id"]))
        if plural in _READ_ONLY:
            return
        self._add("PUT", f"/{plural}/{{id}}", lambda request, has: shelves.change(singular, has["id"], request.body))
        if plural != "servers":
            self._add("DELETE", f"/{plural}/{{id}}", lambda _, has: shelves.delete(singular, has["id"]))

    def _add_rest(self) -> None:
        shelves = self._shelves
        self._add("POST", "/ssh_keys", lambda request, _: shelves.create_ssh_key(request.body))
        self._add("POST", "/primary_ips", lambda request, _: shelves.create_primary_ip(request.body))
        self._add("POST", "/networks", lambda request, _: shelves.create_network(request.body))
        self._add("GET", "/actions", lambda request, _: shelves.actions(request.query))
        self._add("GET", "/actions/{id}", lambda _, has: shelves.get("action", has["id"]))
        self._add("GET", "/pricing", lambda _request, _: (200, {"pricing": offer.pricing()}))
        gone: Any = ApiError(410, "deprecated_api_endpoint", "datacenters are gone, use location")
        for template in ("/datacenters", "/datacenters/{id}"):
            self._add("GET", template, _refusing(gone))


def _refusing(error: ApiError) -> Do:
    def refuse(_request: Request, _found: Mapping[str, str]) -> Answer:
        raise error

    return refuse
