"""The servers of a project: listed, ordered, rebuilt, deleted. Nothing is touched that isn't labelled as disposable."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_testlab import labels
from pytest_testlab.errors import InfraError
from testlab_hetzner.capacity import Offer
from testlab_hetzner.cloud import Cloud, Refused
from testlab_hetzner.listing import Shared
from testlab_hetzner.machines import SELECTOR, Machine, Step, machine_of, step_of

if TYPE_CHECKING:
    from hcloud.images import Image


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to ask for, but for type and location."""

    name: str
    image: str
    snapshot: str | None
    """The id of a snapshot, in the image's place."""
    user_data: str
    labels: Mapping[str, str]
    ssh_key: int
    public_ipv4: bool = True
    networks: Sequence[int] = ()


class Servers:
    """The servers that carry the lab's label."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._times = cloud.times
        self._shared: Shared[list[Machine]] = Shared(self._list, cloud.times.gather)
        self._settling: Shared[list[Machine]] = Shared(self._list, cloud.times.settle)

    def all(self) -> list[Machine]:
        """Every one as it is now; raises `InfraError`. Who asks at about the same time shares one request."""
        return self._shared.get(2 * self._times.call)

    def find(self, name: str, id: int | None) -> Machine | None:  # noqa: A002 - the API's word
        """The one of that name, and of that id where one is given; None when it is gone. Raises `InfraError`.

        One that is there and doesn't carry the lab's label is returned, too.
        """
        for machine in self.all():
            if machine.name == name and id in (None, machine.id):
                return machine
        if id is None:
            return None
        try:
            machine = self._cloud.ask(f"looking for {name}", lambda client: machine_of(client.servers.get_by_id(id)))
        except Refused as refused:
            if refused.code == "not_found":
                return None
            raise
        return machine if machine.name == name else None

    def named(self, name: str) -> Machine | None:
        """The one of that name, whatever its labels are; raises `InfraError`."""

        def look(client: Any) -> Machine | None:
            found = client.servers.get_by_name(name)
            return None if found is None else machine_of(found)

        return self._cloud.ask(f"looking for {name}", look)

    def order(self, order: Order, offer: Offer) -> Machine:
        """Have it made; raises `Refused`, with `uniqueness_error` also where an earlier answer was lost."""
        from hcloud.locations import Location
        from hcloud.networks import Network
        from hcloud.server_types import ServerType
        from hcloud.servers import ServerCreatePublicNetwork
        from hcloud.ssh_keys import SSHKey

        def create(client: Any) -> Machine:
            made = client.servers.create(
                name=order.name,
                server_type=ServerType(name=offer.type),
                image=_image(order.image, order.snapshot),
                location=Location(name=offer.location),
                ssh_keys=[SSHKey(id=order.ssh_key)],
                user_data=order.user_data,
                labels=dict(order.labels),
                public_net=ServerCreatePublicNetwork(enable_ipv4=order.public_ipv4, enable_ipv6=True),
                networks=[Network(id=network) for network in order.networks] or None,
            )
            return machine_of(made.server, [made.action, *made.next_actions])

        return self._cloud.ask(f"ordering {order.name}, {offer}", create)

    def network(self, wish: str) -> int:
        """The id of a private network, by its name or id; raises `InfraError`."""
        if wish.isdecimal():
            return int(wish)
        found = self._cloud.ask(f"looking for the network {wish}", lambda client: client.networks.get_by_name(wish))
        if found is None or found.id is None:
            raise InfraError(f"testlab_network: the project has no network {wish}")
        return found.id

    def rebuild(self, machine: Machine, image: str, snapshot: str | None, user_data: str) -> Step:
        """Begin to put an image in place of its disk; raises `InfraError`."""
        check_disposable(machine)
        return self._cloud.ask(
            f"rebuilding {machine.name}",
            lambda client: step_of(
                client.servers.rebuild(_server(machine.id), _image(image, snapshot), user_data=user_data).action
            ),
        )

    def steps(self, machine: Machine) -> list[Step]:
        """All of its actions that the API still knows, newest first; raises `InfraError`."""
        return self._cloud.ask(
            f"asking for the actions of {machine.name}",
            lambda client: [
                step_of(action) for action in client.servers.get_actions(_server(machine.id), sort=["id:desc"])
            ],
        )

    def remove(self, name: str, id: int | None) -> None:  # noqa: A002 - the API's word
        """Delete it, and return when it is listed no more; gone already = done. Raises `InfraError`."""
        deadline = time.monotonic() + self._times.gone
        machine, pause = self.find(name, id), self._times.first_gone
        while machine is not None:
            check_disposable(machine)
            if machine.status != "deleting":
                self._delete(machine)
            time.sleep(pause)
            listed = self._settling.get(2 * self._times.call)
            status = {other.id: other.status for other in listed}.get(machine.id)
            if status is None:
                return
            if time.monotonic() >= deadline:
                raise InfraError(f"{name} was deleted, and is still listed as {status} after {self._times.gone:g} s")
            machine, pause = replace(machine, status=status), pause * 1.5

    def _delete(self, machine: Machine) -> None:
        try:
            self._cloud.ask(
                f"deleting {machine.name}", lambda client: client.servers.delete(_server(machine.id)), urgent=True
            )
        except Refused as refused:
            if refused.code != "not_found":
                raise

    def _list(self) -> list[Machine]:
        return self._cloud.ask(
            "listing the lab's servers",
            lambda client: [machine_of(server) for server in client.servers.get_all(label_selector=SELECTOR)],
            urgent=True,  # no delete without it
        )


def check_disposable(machine: Machine) -> None:
    """Raise `InfraError` for a server that may not be touched, by the labels that the API has for it."""
    if not labels.is_disposable(machine.labels):
        wanted = f"{labels.MANAGED_BY}={labels.OURS}, {labels.DISPOSABLE}=true"
        raise InfraError(f"{machine.name} is left alone: it isn't labelled {wanted}")


def _image(name: str, snapshot: str | None) -> Image:
    from hcloud.images import Image

    return Image(name=name) if snapshot is None else Image(id=int(snapshot))


def _server(id: int) -> Any:  # noqa: A002 - the API's word
    from hcloud.servers import Server

    return Server(id=id)
