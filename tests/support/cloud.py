"""A cloud in memory: servers that outlive whoever asked for them, with labels, addresses and keys of their own."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from pytest_testlab import labels
from pytest_testlab.errors import InfraError
from pytest_testlab.model import Resource, Server, ServerRequest
from pytest_testlab.testing import MemoryProvider


def ago(seconds: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)


@dataclass
class Cloud:
    """What there is, whoever looks; and how it misbehaves."""

    there: dict[tuple[str, str], Resource] = field(default_factory=dict)
    stubborn: set[str] = field(default_factory=set)
    """Names of what can't be removed."""
    liars: dict[str, int] = field(default_factory=dict)
    """Names of what is still listed so often after it was removed."""
    away: str = ""
    """Why nothing at all can be asked."""
    unlisted: str = ""
    """Of a kind that can't be listed."""
    removed: list[str] = field(default_factory=list)
    """Names, in order."""
    lists: int = 0
    looked_for: list[set[str]] = field(default_factory=list)
    """Kinds that each list was narrowed to; empty = any."""
    release: str = "1"
    """Of the images."""
    frozen: list[str] = field(default_factory=list)
    """Servers of which a snapshot was made, in order."""
    made: list[str | None] = field(default_factory=list)
    """What each server was made from: a snapshot, or the bare disk."""
    blanked: list[str | None] = field(default_factory=list)
    """Likewise, where each blanking led."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(
        self, name: str, *, kind: str = "server", age_s: float = 0.0, expired_s: float | None = None, **more: str
    ) -> Resource:
        """Something of the lab's that expired so many seconds ago (below 0: is to expire); None: that says nothing."""
        written = {labels.MANAGED_BY: labels.OURS, labels.DISPOSABLE: "true", labels.RUN: "r", **more}
        if expired_s is not None:
            written[labels.EXPIRES] = labels.moment(ago(expired_s))
        made = Resource(kind=kind, id=name, name=name, provider="cloud", labels=written, created_at=ago(age_s))
        self.there[kind, name] = made
        return made

    @property
    def names(self) -> set[str]:
        return {name for _, name in self.there}


class CloudProvider(MemoryProvider):
    """Makes servers in a cloud; each with a key that goes last."""

    name = "cloud"

    def __init__(self, cloud: Cloud) -> None:
        super().__init__()
        self.cloud = cloud

    def create(self, request: ServerRequest) -> Server:
        self._ask()
        server = replace(super().create(request), provider=self.name)
        for kind in ("server", "ssh-key"):
            self.cloud.there[kind, server.name] = Resource(
                kind=kind, id=server.name, name=server.name, provider=self.name, labels=dict(request.labels)
            )
        return server

    def destroy(self, server: Server) -> None:
        self._ask()
        super().destroy(server)
        self.cloud.there.pop(("server", server.name), None)

    def resources(self, kinds: Collection[str] | None = None) -> Iterable[Resource]:
        self._ask()
        with self.cloud.lock:
            self.cloud.lists += 1
            self.cloud.looked_for.append(set(kinds or ()))
            listed = list(self.cloud.there.values())
            for resource in listed:
                if (left := self.cloud.liars.get(resource.name)) is not None and resource.name in self.cloud.removed:
                    self.cloud.liars[resource.name] = left - 1
                    if left <= 1:
                        del self.cloud.there[resource.kind, resource.id]
        wanted = [resource for resource in listed if kinds is None or resource.kind in kinds]
        yield from (resource for resource in wanted if resource.kind != self.cloud.unlisted)
        if self.cloud.unlisted:
            raise InfraError(f"{self.cloud.unlisted}s can't be listed: 503")

    def remove(self, resource: Resource) -> None:
        self._ask()
        with self.cloud.lock:
            if resource.name in self.cloud.stubborn:
                raise InfraError("it is locked")
            self.cloud.removed.append(resource.name)
            if resource.name not in self.cloud.liars:
                self.cloud.there.pop((resource.kind, resource.id), None)

    def write_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
        self._ask()
        with self.cloud.lock:
            key = (resource.kind, resource.id)
            if key not in self.cloud.there:
                raise InfraError(f"{resource.name} is gone")
            now = self.cloud.there[key]
            self.cloud.there[key] = replace(now, labels={**now.labels, **labels})

    def _ask(self) -> None:
        if self.cloud.away:
            raise InfraError(self.cloud.away)


class FreezingCloud(CloudProvider):
    """A cloud whose servers can be frozen, and others be started from that."""

    name = "icy"
    blank_between_units = True

    def snapshot(self, server: Server, labels: Mapping[str, str]) -> str:
        self._ask()
        with self.cloud.lock:
            name = f"snapshot-{len(self.cloud.frozen)}"
            self.cloud.frozen.append(server.name)
            self.cloud.there["snapshot", name] = Resource(
                kind="snapshot",
                id=name,
                name=name,
                provider=self.name,
                labels=dict(labels),
                created_at=dt.datetime.now(dt.UTC),
                eur_per_hour=0.01,
            )
            return name

    def bare(self, request: ServerRequest) -> Mapping[str, str]:
        return {"image": request.image or "", "release": self.cloud.release}

    def create(self, request: ServerRequest) -> Server:
        if request.snapshot is not None and ("snapshot", request.snapshot) not in self.cloud.there:
            raise InfraError(f"there is no snapshot {request.snapshot}")
        made = replace(super().create(request), provider=self.name)
        with self.cloud.lock:
            self.cloud.made.append(request.snapshot)
        return made

    def blank(self, server: Server) -> Server:
        with self.cloud.lock:
            self.cloud.blanked.append(server.snapshot)
        return super().blank(server)
