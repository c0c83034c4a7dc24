"""Everything of a project that carries the lab's label, of whatever kind: listed, priced, labelled anew, removed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from pytest_testlab import labels as names
from pytest_testlab.errors import InfraError
from pytest_testlab.model import Resource
from testlab_hetzner.cloud import Cloud, Refused
from testlab_hetzner.listing import Shared
from testlab_hetzner.machines import SELECTOR, Machine
from testlab_hetzner.prices import Prices
from testlab_hetzner.servers import Servers

PROVIDER = "hetzner"
SERVER = "server"
SNAPSHOT = "snapshot"
ADDRESS = "primary-ip"
KEY = "ssh-key"


class Resources:
    """What a reaper sees of the cloud."""

    def __init__(self, cloud: Cloud, servers: Servers, prices: Prices) -> None:
        self._cloud = cloud
        self._servers = servers
        self._prices = prices
        self._images: Shared[list[Any]] = Shared(self._list_images, cloud.times.gather)

    def all(self, kinds: Collection[str] | None = None) -> Iterator[Resource]:
        """All that there is, of these kinds or any; each kind is a request.

        When one can't be listed `InfraError` comes after the last of the others.
        """
        lists: Mapping[str, Callable[[], Iterable[Resource]]] = {
            SNAPSHOT: self._snapshots,  # first, as whoever looks for a golden one at a run's start shares the list
            SERVER: lambda: map(self._server, self._servers.all()),
            ADDRESS: self._addresses,
            KEY: self._keys,
        }
        errors = []
        for kind, list_ in lists.items():
            if kinds is not None and kind not in kinds:
                continue
            try:
                yield from list(list_())
            except InfraError as error:
                errors.append(f"{kind}: {error}")
        if errors:
            raise InfraError("; ".join(errors))

    def remove(self, resource: Resource) -> None:
        """Remove it for good; gone already = done. Raises `InfraError`, also for what isn't labelled as disposable."""
        if resource.kind == SERVER:
            self._servers.remove(resource.name, int(resource.id))
            return
        self._check(resource)
        there = self._get(resource)
        if there is None:
            return
        if not names.is_disposable(there.labels or {}):
            raise InfraError(f"{resource.kind} {resource.name} is left alone: it isn't labelled as disposable")
        try:
            self._cloud.ask(
                f"removing the {resource.kind} {resource.name}",
                lambda client: _shelf(client, resource.kind).delete(there),
                urgent=True,
            )
        except Refused as refused:
            if refused.code != "not_found":
                raise

    def write_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
        """Set these, keep the others; raises `InfraError`, also when it is gone."""
        self._check(resource)
        there = self._get(resource)
        if there is None:
            raise InfraError(f"{resource.kind} {resource.name} is gone")
        if not names.is_ours(there.labels or {}):
            raise InfraError(
                f"{resource.kind} {resource.name} is left alone: it doesn't carry the lab's label any more"
            )
        self._cloud.ask(
            f"labelling the {resource.kind} {resource.name}",
            lambda client: _shelf(client, resource.kind).update(there, labels={**(there.labels or {}), **labels}),
        )

    def _check(self, resource: Resource) -> None:
        if resource.kind not in (SERVER, SNAPSHOT, ADDRESS, KEY) or not resource.id.isdecimal():
            raise InfraError(f"the provider {PROVIDER} knows no {resource.kind} {resource.id}")

    def _get(self, resource: Resource) -> Any:
        """As the API has it; None when it is gone."""
        try:
            return self._cloud.ask(
                f"looking at the {resource.kind} {resource.name}",
                lambda client: _shelf(client, resource.kind).get_by_id(int(resource.id)),
                urgent=True,
            )
        except Refused as refused:
            if refused.code == "not_found":
                return None
            raise

    # --- listing ------------------------------------------------------------------------------------------------------

    def _server(self, machine: Machine) -> Resource:
        return Resource(
            kind=SERVER,
            id=str(machine.id),
            name=machine.name,
            provider=PROVIDER,
            labels=machine.labels,
            created_at=machine.created_at,
            eur_per_hour=self._price(
                lambda: self._prices.server(machine.type, machine.location, ipv4=bool(machine.ipv4))
            ),
        )

    def _snapshots(self) -> list[Resource]:
        found = self._images.get(2 * self._cloud.times.call)
        return [_resource(SNAPSHOT, image, image.description, self._price_of_snapshot(image)) for image in found]

    def _list_images(self) -> list[Any]:
        return self._list(SNAPSHOT, lambda client: client.images.get_all(type=["snapshot"], label_selector=SELECTOR))

    def _addresses(self) -> list[Resource]:
        found = self._list(ADDRESS, lambda client: client.primary_ips.get_all(label_selector=SELECTOR))
        return [_resource(ADDRESS, ip, ip.name, self._price_of_address(ip)) for ip in found]

    def _keys(self) -> list[Resource]:
        found = self._list(KEY, lambda client: client.ssh_keys.get_all(label_selector=SELECTOR))
        return [_resource(KEY, key, key.name, None) for key in found]

    def _list(self, kind: str, work: Callable[[Any], list[Any]]) -> list[Any]:
        return self._cloud.ask(f"listing the lab's {kind}s", work, urgent=True)

    def _price_of_snapshot(self, image: Any) -> float | None:
        return self._price(lambda: self._prices.snapshot(image.image_size or 0.0))

    def _price_of_address(self, ip: Any) -> float | None:
        return self._price(lambda: self._prices.address(ip.type, ip.location.name))

    def _price(self, ask: Callable[[], float | None]) -> float | None:
        """None where the price list can't be had: nothing stays for that."""
        try:
            return ask()
        except InfraError:
            return None


def _shelf(client: Any, kind: str) -> Any:
    return {
        SERVER: client.servers,
        SNAPSHOT: client.images,
        ADDRESS: client.primary_ips,
        KEY: client.ssh_keys,
    }[kind]


def _resource(kind: str, found: Any, name: str | None, price: float | None) -> Resource:
    return Resource(
        kind=kind,
        id=str(found.id),
        name=name or str(found.id),
        provider=PROVIDER,
        labels=dict(found.labels or {}),
        created_at=found.created,
        eur_per_hour=price,
    )
