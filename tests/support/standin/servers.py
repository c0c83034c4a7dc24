"""What can be done with servers."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

from standin import offer
from standin.clock import now
from standin.cloud import Cloud, Json, Server, Task
from standin.faults import Kind
from standin.hosts import Spec
from standin.rules import ApiError, check_host_name, check_labels, invalid, not_found

BOOT_S = 25.0
CLOUD_INIT_S = 15.0
CREATE_SHARE = 0.4
"""Of the time to boot, until `create_server` is done; the rest is `start_server`."""
STOP_S = 3.0
SHUTDOWN_S = 5.0
DELETE_S = 2.0
IMAGE_S = 20.0
MOST_USER_DATA = 32 * 1024


class Servers:
    """The verbs on servers; each is called under the cloud's lock and returns a status and a body."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    # --- create and delete

    def create(self, body: Json) -> tuple[int, Json]:
        """POST /servers"""
        cloud = self._cloud
        name = check_host_name(body.get("name"))
        kind = cloud.named("server_type", body.get("server_type"))
        image = self._image(body.get("image"))
        place = self._place(body, kind)
        keys = [cloud.named("ssh_key", key)["public_key"] for key in body.get("ssh_keys") or []]
        networks = [int(cloud.named("network", key)["id"]) for key in body.get("networks") or []]
        user_data = check_user_data(body.get("user_data"))
        labels = check_labels(body.get("labels") or {})
        for word in ("volumes", "firewalls", "placement_group"):
            if body.get(word):
                raise invalid(word, "the stand-in has none")
        cloud.check_unique("server", name)
        where = {"server_type": kind["name"], "location": place["name"], "name": name}
        if cloud.plan.take(Kind.UNAVAILABLE, **where) is not None:
            raise ApiError(412, "resource_unavailable", "the requested resource is currently unavailable")
        number = cloud.new_id()
        data = _new(number, name, kind, image, place, labels)
        data["public_net"] = self._public_net(number, body.get("public_net") or {}, place)
        server = Server(data=data, user_data=user_data, ssh_keys=keys, networks=networks)
        server.stuck = cloud.plan.take(Kind.INITIALIZING, **where) is not None
        cloud.servers[number] = server
        action, following = self._first_boot(server, start=body.get("start_after_create") is not False)
        password = None if keys else secrets.token_hex(8)
        return 201, {"server": server.shown(), "action": action, "next_actions": following, "root_password": password}

    def _first_boot(self, server: Server, *, start: bool) -> tuple[Json, list[Json]]:
        cloud = self._cloud
        boot = cloud.clock.span(BOOT_S)
        spec = self._spec(server)
        starting = self._starting(server) if start else None

        def made() -> None:
            cloud.hosts.make(spec())
            with cloud.lock:
                if not server.stuck:
                    server.data["status"] = "starting" if start else "off"
                if starting is not None:
                    cloud.due(starting, boot * (1 - CREATE_SHARE))

        def failed() -> None:
            server.data["status"] = "off"
            if starting is not None:
                starting.fate = Kind.FAILED_ACTION
                cloud.due(starting, 0)

        with_networks = self._joining(server, made)
        action = cloud.due(cloud.begin("create_server", server, with_networks, otherwise=failed), boot * CREATE_SHARE)
        return action, [starting.action] if starting is not None else []

    def _joining(self, server: Server, then: Callable[[], None]) -> Callable[[], None]:
        """As on the real one, a server is in its networks only once it is made, not in the answer to its create."""

        def joined() -> None:
            with self._cloud.lock:
                for number in server.networks:
                    self._join(server, number)
            then()

        return joined

    def _join(self, server: Server, number: int) -> None:
        network = self._cloud.networks.get(number)
        if network is None:
            return
        address = self._cloud.new_private_ip(network)
        mac = ":".join(f"{part:02x}" for part in (0x86, 0, *server.id.to_bytes(4, "big")))
        server.data["private_net"].append({"network": number, "ip": address, "alias_ips": [], "mac_address": mac})

    def delete(self, key: str) -> tuple[int, Json]:
        """DELETE /servers/{id}: answered at once, believed later."""
        cloud = self._cloud
        server = cloud.unlocked(key)
        lie = cloud.plan.take(Kind.LYING_DELETE, name=server.name)
        if lie is not None:
            task = cloud.begin("delete_server", None, lambda: None, resources=[("server", server.id)])
            if lie.seconds != float("inf"):
                cloud.agenda.after(cloud.clock.ours(lie.seconds), partial(self._gone, server))
            return 200, {"action": cloud.due(task, 0)}
        before = server.data["status"]
        task = cloud.begin(
            "delete_server",
            server,
            partial(self._gone, server),
            otherwise=lambda: server.data.update(status=before),
        )
        server.data["status"] = "deleting"
        return 200, {"action": cloud.due(task, cloud.clock.span(DELETE_S))}

    def _gone(self, server: Server) -> None:
        """It leaves the lists when its time has come, however long its host takes to go."""
        cloud, freed = self._cloud, []
        with cloud.lock:
            if cloud.servers.pop(server.id, None) is not None:
                cloud.going.add(server.id)
            for ip in [ip for ip in cloud.primary_ips.values() if ip["assignee_id"] == server.id]:
                ip["assignee_id"] = None
                if ip["auto_delete"]:
                    freed.append(cloud.primary_ips.pop(ip["id"]))
        try:
            cloud.hosts.remove(server.id)
            for ip in freed:
                cloud.free(ip)
        finally:
            cloud.went(server.id)

    # --- actions

    def act(self, key: str, verb: str, body: Json) -> tuple[int, Json]:
        """POST /servers/{id}/actions/{verb}"""
        do = {
            "poweron": self._power_on,
            "poweroff": self._power_off,
            "shutdown": self._shut_down,
            "reboot": self._reboot,
            "reset": self._reset,
            "rebuild": self._rebuild,
            "create_image": self._create_image,
        }.get(verb)
        if do is None:
            raise ApiError(404, "not_found", f"the stand-in can't {verb}")
        return 201, do(self._cloud.unlocked(key), body)

    def _starting(self, server: Server, command: str = "start_server") -> Task:
        def started() -> None:
            if server.stuck:
                return
            self._cloud.hosts.start(server.id)
            with self._cloud.lock:
                server.data["status"] = "running"

        return self._cloud.begin(command, server, started, otherwise=lambda: server.data.update(status="off"))

    def _power_on(self, server: Server, _body: Json) -> Json:
        task = self._starting(server)
        server.data["status"] = "starting"
        return {"action": self._cloud.due(task, self._cloud.clock.span(BOOT_S))}

    def _power_off(self, server: Server, _body: Json) -> Json:
        return self._stopping(server, "stop_server", STOP_S)

    def _shut_down(self, server: Server, _body: Json) -> Json:
        return self._stopping(server, "shutdown_server", SHUTDOWN_S)

    def _stopping(self, server: Server, command: str, seconds: float) -> Json:
        def stopped() -> None:
            self._cloud.hosts.stop(server.id)
            with self._cloud.lock:
                server.data["status"] = "off"

        before = server.data["status"]
        task = self._cloud.begin(command, server, stopped, otherwise=lambda: server.data.update(status=before))
        server.data["status"] = "stopping"
        return {"action": self._cloud.due(task, self._cloud.clock.span(seconds))}

    def _reboot(self, server: Server, _body: Json) -> Json:
        return self._restarting(server, "reboot_server")

    def _reset(self, server: Server, _body: Json) -> Json:
        return self._restarting(server, "reset_server")

    def _restarting(self, server: Server, command: str) -> Json:
        cloud = self._cloud

        def restarted() -> None:
            cloud.hosts.stop(server.id)
            cloud.hosts.start(server.id)

        return {"action": cloud.due(cloud.begin(command, server, restarted), cloud.clock.span(STOP_S))}

    def _rebuild(self, server: Server, body: Json) -> Json:
        cloud = self._cloud
        image = self._image(body.get("image"))
        if body.get("user_data") is not None:
            server.user_data = check_user_data(body["user_data"])
        server.data["image"] = image
        server.stuck = False
        spec = self._spec(server)

        def rebuilt() -> None:
            cloud.hosts.stop(server.id)
            cloud.hosts.make(spec())
            cloud.hosts.start(server.id)
            with cloud.lock:
                server.data["status"] = "running"

        task = cloud.begin("rebuild_server", server, rebuilt, otherwise=lambda: server.data.update(status="off"))
        server.data["status"] = "rebuilding"
        password = None if server.ssh_keys else secrets.token_hex(8)
        return {"action": cloud.due(task, cloud.clock.span(BOOT_S)), "root_password": password}

    def _create_image(self, server: Server, body: Json) -> Json:
        cloud = self._cloud
        labels = check_labels(body.get("labels") or {})
        if body.get("type", "snapshot") not in ("snapshot", "backup"):
            raise invalid("type", "must be snapshot or backup")
        source = server.data["image"] or {}
        image = offer.image(
            cloud.new_id(),
            type=body.get("type", "snapshot"),
            status="creating",
            description=body.get("description") or f"snapshot of {server.name}",
            created=now(),
            created_from={"id": server.id, "name": server.name},
            os_flavor=source.get("os_flavor", "unknown"),
            os_version=source.get("os_version"),
            disk_size=float(server.data["primary_disk_size"]),
            labels=labels,
        )
        cloud.images[image["id"]] = image

        def taken() -> None:
            cloud.hosts.snapshot(server.id, image["id"])
            with cloud.lock:
                image.update(status="available", image_size=1.2)

        task = cloud.begin(
            "create_image",
            server,
            taken,
            otherwise=lambda: cloud.images.pop(image["id"], None),
            resources=[("image", image["id"])],
        )
        return {"action": cloud.due(task, cloud.clock.span(IMAGE_S)), "image": image}

    # --- parts

    def _image(self, key: object) -> Json:
        image = self._cloud.named("image", key)
        if image["status"] != "available":
            raise not_found("image", key)
        return image

    def _place(self, body: Json, kind: Json) -> Json:
        if body.get("datacenter"):
            raise ApiError(410, "deprecated_api_endpoint", "datacenters are gone, use location")
        place = self._cloud.named("location", body.get("location") or kind["locations"][0]["name"])
        if place["name"] not in [there["name"] for there in kind["locations"]]:
            raise ApiError(422, "unsupported_error", f"{kind['name']} is not offered in {place['name']}")
        return place

    def _public_net(self, number: int, wish: Json, place: Json) -> Json:
        ipv4 = self._address(number, wish, "ipv4", place)
        ipv6 = self._address(number, wish, "ipv6", place)
        return {
            "ipv4": ipv4 and {**_short(ipv4), "dns_ptr": ipv4["dns_ptr"][0]["dns_ptr"]},
            "ipv6": ipv6 and {**_short(ipv6), "dns_ptr": []},
            "floating_ips": [],
            "firewalls": [],
        }

    def _address(self, number: int, wish: Json, version: str, place: Json) -> Json | None:
        if wish.get(f"enable_{version}") is False:
            return None
        if wish.get(version) is None:
            return self._cloud.new_primary_ip({"type": version, "auto_delete": True}, location=place, assignee=number)
        ip = self._cloud.named("primary_ip", wish[version])
        if ip["assignee_id"] is not None:
            raise ApiError(422, "primary_ip_assigned", "primary IP is already assigned")
        if ip["type"] != version or ip["location"]["name"] != place["name"]:
            raise ApiError(422, "primary_ip_version_mismatch", "primary IP is of another version or location")
        ip["assignee_id"] = number
        return ip

    def _spec(self, server: Server) -> Callable[[], Spec]:
        """Draw now what is drawn, and put it together when the host is made."""
        cloud = self._cloud
        cloud_init_s = cloud.clock.span(CLOUD_INIT_S)
        late = cloud.plan.take(Kind.LATE_SSH, name=server.name)
        other = cloud.plan.take(Kind.OTHER_KEY, name=server.name)
        image = server.data["image"]

        def spec() -> Spec:
            with cloud.lock:
                ipv4 = server.data["public_net"]["ipv4"]
                private = [net["ip"] for net in server.data["private_net"]]
            return Spec(
                id=server.id,
                name=server.name,
                image=f"{image['os_flavor']}-{image['os_version']}",
                snapshot=image["id"] if image["type"] != "system" else None,
                addresses=[*([ipv4["ip"]] if ipv4 else []), *private],
                user_data=server.user_data,
                ssh_keys=server.ssh_keys,
                cloud_init_s=cloud_init_s,
                late_s=cloud.clock.ours(late.seconds) if late else 0.0,
                other_key_s=cloud.clock.ours(other.seconds) if other else 0.0,
            )

        return spec


def check_user_data(text: object) -> str:
    """What cloud-init is given; raises `ApiError`."""
    if not isinstance(text, str | None):
        raise invalid("user_data", "must be a string")
    if len((text or "").encode()) > MOST_USER_DATA:
        raise invalid("user_data", "must have 32 KiB at most")
    return text or ""


def _short(ip: Json) -> Json:
    return {"id": ip["id"], "ip": ip["ip"], "blocked": False}


def _new(number: int, name: str, kind: Json, image: Json, place: Json, labels: dict[str, str]) -> Json:
    return {
        "id": number,
        "name": name,
        "status": "initializing",
        "created": now(),
        "private_net": [],
        "server_type": kind,
        "location": place,
        "image": image,
        "iso": None,
        "rescue_enabled": False,
        "backup_window": None,
        "outgoing_traffic": 0,
        "ingoing_traffic": 0,
        "included_traffic": 20 * 1024**4,
        "protection": {"delete": False, "rebuild": False},
        "labels": labels,
        "volumes": [],
        "load_balancers": [],
        "primary_disk_size": kind["disk"],
        "placement_group": None,
    }
