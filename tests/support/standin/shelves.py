"""What is alike for all kinds of resources: lists, one, changed, gone; and the creates of the simple ones."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

import asyncssh

from standin.clock import now
from standin.cloud import Cloud, Json, Server, check_version
from standin.rules import (
    ApiError,
    Query,
    check_labels,
    check_name,
    in_order,
    invalid,
    not_found,
    one,
    page,
    selected,
    whole,
)

FILTERS = ("name", "ip", "fingerprint", "type", "status", "architecture")
MOST_ACTIONS = 25
"""In one question for actions by id."""


class Shelves:
    """The verbs on resources other than servers, and the lists of all; called under the cloud's lock."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    # --- looking

    def list(self, plural: str, query: Query) -> tuple[int, Json]:
        """GET /{plural}"""
        some = [one for one in self._all(plural) if _wanted(one, query)]
        return self._paged(plural, some, query)

    def get(self, singular: str, key: str) -> tuple[int, Json]:
        """GET /{plural}/{id}"""
        if singular == "server":
            return 200, {"server": self._cloud.server(key).shown()}
        return 200, {singular: self._one(singular, key)}

    def actions(self, query: Query) -> tuple[int, Json]:
        """GET /actions?id=1&id=2"""
        ids = [whole(text, "id") for text in query.get("id") or []]
        if not ids:
            raise ApiError(400, "invalid_input", "actions are listed by id only")
        if len(ids) > MOST_ACTIONS:
            raise invalid("id", f"must be {MOST_ACTIONS} at most")
        return 200, {"actions": [self._cloud.actions[number] for number in ids if number in self._cloud.actions]}

    def actions_on(self, singular: str, key: str | None, query: Query) -> tuple[int, Json]:
        """GET /servers/actions and GET /servers/{id}/actions"""
        number = None if key is None else whole(key, "id")
        some = [action for action in self._cloud.actions.values() if _on(action, singular, number)]
        return self._paged("actions", [action for action in some if _wanted(action, query)], query)

    def action_on(self, singular: str, key: str | None, action: str) -> tuple[int, Json]:
        """GET /servers/actions/{id} and GET /servers/{id}/actions/{action_id}"""
        found = self._one("action", action)
        if not _on(found, singular, None if key is None else whole(key, "id")):
            raise not_found("action", action)
        return 200, {"action": found}

    def _all(self, plural: str) -> Iterable[Json]:
        if plural == "servers":
            return [server.shown() for server in self._cloud.servers.values()]
        shelf: dict[int, Json] = getattr(self._cloud, plural)
        return shelf.values()

    def _one(self, singular: str, key: str) -> Json:
        shelf: dict[int, Json] = getattr(self._cloud, f"{singular}s")
        found = shelf.get(whole(key, "id"))
        if found is None:
            raise not_found(singular, key)
        return self._with_servers(found) if singular == "network" else found

    def _paged(self, plural: str, some: Sequence[Json], query: Query) -> tuple[int, Json]:
        keys = {key: (lambda item, key=key: item.get(key)) for key in ("id", "name", "created", "command", "status")}
        shown, meta = page(in_order(some, query, keys), query)
        if plural == "networks":
            shown = [self._with_servers(network) for network in shown]
        return 200, {plural: list(shown), "meta": meta}

    # --- changing

    def change(self, singular: str, key: str, body: Json) -> tuple[int, Json]:
        """PUT /{plural}/{id}: name, labels, description, auto_delete; labels are replaced as a whole."""
        target: Server | Json = self._cloud.server(key) if singular == "server" else self._one(singular, key)
        data = target.data if isinstance(target, Server) else target
        if body.get("name") is not None and singular != "image":
            self._cloud.check_unique(singular, check_name(body["name"]), but=data["id"])
            data["name"] = body["name"]
        if body.get("labels") is not None:
            data["labels"] = check_labels(body["labels"])
        for word in ("description", "auto_delete"):
            if word in data and body.get(word) is not None:
                data[word] = body[word]
        return 200, {singular: target.shown() if isinstance(target, Server) else target}

    def delete(self, singular: str, key: str) -> tuple[int, None]:
        """DELETE /{plural}/{id}"""
        found = self._one(singular, key)
        if singular == "image":
            self._drop_image(found)
        elif singular == "primary_ip":
            if found["assignee_id"] is not None:
                raise ApiError(422, "must_be_unassigned", "primary IP must be unassigned")
            self._cloud.drop_primary_ip(found["id"])
        elif singular == "network":
            if found["servers"]:
                raise ApiError(409, "resource_in_use", "network still has servers")
            del self._cloud.networks[found["id"]]
        else:
            del self._cloud.ssh_keys[found["id"]]
        return 204, None

    def _drop_image(self, image: Json) -> None:
        if image["type"] == "system":
            raise ApiError(403, "forbidden", "system images can't be deleted")
        if image["status"] == "creating":
            raise ApiError(423, "locked", "image is locked")
        del self._cloud.images[image["id"]]
        self._cloud.agenda.after(0, lambda: self._cloud.hosts.forget(image["id"]))

    # --- making

    def create_ssh_key(self, body: Json) -> tuple[int, Json]:
        """POST /ssh_keys"""
        name, labels = check_name(body.get("name")), check_labels(body.get("labels") or {})
        try:
            key = asyncssh.import_public_key(str(body.get("public_key")))
        except asyncssh.KeyImportError:
            raise invalid("public_key", "must be an OpenSSH public key") from None
        fingerprint = key.get_fingerprint("md5").partition(":")[2]
        self._cloud.check_unique("ssh_key", name)
        if fingerprint in [other["fingerprint"] for other in self._cloud.ssh_keys.values()]:
            raise ApiError(409, "uniqueness_error", "SSH key not unique", {"fields": [{"name": "public_key"}]})
        made: Json = {
            "id": self._cloud.new_id(),
            "name": name,
            "fingerprint": fingerprint,
            "public_key": str(body["public_key"]).strip(),
            "labels": labels,
            "created": now(),
        }
        self._cloud.ssh_keys[made["id"]] = made
        return 201, {"ssh_key": made}

    def create_primary_ip(self, body: Json) -> tuple[int, Json]:
        """POST /primary_ips, not assigned yet"""
        check_version(body.get("type"))
        self._cloud.check_unique("primary_ip", check_name(body.get("name")))
        if body.get("assignee_id") is not None:
            raise invalid("assignee_id", "the stand-in assigns addresses in the create of a server only")
        labels = check_labels(body.get("labels") or {})
        place = self._cloud.named("location", body.get("location"))
        return 201, {"primary_ip": self._cloud.new_primary_ip({**body, "labels": labels}, location=place)}

    def create_network(self, body: Json) -> tuple[int, Json]:
        """POST /networks"""
        name, labels = check_name(body.get("name")), check_labels(body.get("labels") or {})
        self._cloud.check_unique("network", name)
        whole_range = _range(body.get("ip_range"), "ip_range")
        subnets = []
        for subnet in body.get("subnets") or []:
            part = _range(subnet.get("ip_range"), "subnets.ip_range")
            if not part.subnet_of(whole_range):
                raise invalid("subnets", "must lie in the network")
            known = {"type": "cloud", "network_zone": "eu-central", **subnet, "vswitch_id": None}
            subnets.append({**known, "gateway": str(whole_range[1])})
        made: Json = {
            "id": self._cloud.new_id(),
            "name": name,
            "ip_range": str(whole_range),
            "subnets": subnets,
            "routes": [],
            "load_balancers": [],
            "expose_routes_to_vswitch": False,
            "protection": {"delete": False},
            "labels": labels,
            "created": now(),
        }
        self._cloud.networks[made["id"]] = made
        return 201, {"network": self._with_servers(made)}

    def _with_servers(self, network: Json) -> Json:
        there = [server.id for server in self._cloud.servers.values() if network["id"] in server.networks]
        return {**network, "servers": there}


def _wanted(item: Json, query: Query) -> bool:
    selector = one(query, "label_selector")
    if selector and not selected(item.get("labels", {}), selector):
        return False
    for name in FILTERS:
        wishes = query.get(name)
        if wishes and name in item and item[name] not in wishes:
            return False
    bound: Any = query.get("bound_to")
    return not bound or str(item.get("bound_to")) in bound


def _on(action: Json, singular: str, number: int | None) -> bool:
    return any(on["type"] == singular and number in (None, on["id"]) for on in action["resources"])


def _range(text: object, name: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(str(text))
    except ValueError:
        raise invalid(name, "must be an IPv4 range") from None
