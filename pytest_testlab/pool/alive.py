"""Every server of the lab's that is alive: what providers list by label, and what store and machine know of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_testlab import labels
from pytest_testlab.errors import UsageError
from pytest_testlab.model import Resource
from pytest_testlab.money import billed
from pytest_testlab.pool import kept
from pytest_testlab.protocols import Provider, Reapable
from pytest_testlab.seams import blame
from pytest_testlab.store.views import LeaseView

IN_USE, KEPT, LEFT, LISTED = "in use", "kept", "left behind", "only in the store"


@dataclass(frozen=True, kw_only=True)
class Alive:
    """A server, as far as anybody knows."""

    name: str
    provider: str
    state: str
    """`in use` by a run; `kept`; `left behind` by a run that was killed, until a reaper comes; `only in the store`: its
    provider could not be asked."""
    run: str
    """Whose it is: the run that uses it, else the one that made it."""
    kept: str = ""
    """Why it outlives its run: `failed` or `always`; empty where it doesn't."""
    test: str = ""
    """The test that failed on it."""
    holder: str = ""
    """Run, host and process that use it; empty where none does."""
    created_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    eur_per_hour: float | None = None
    ssh: str = ""
    """What to type to get there: with a key where this machine has one; empty where no SSH leads."""

    def cost_eur(self, now: dt.datetime) -> float | None:
        """Until now; None where nobody charges anything, or nobody knows since when."""
        return None if self.created_at is None else billed(self.eur_per_hour, self.created_at, now)


def listed(providers: Mapping[str, Provider]) -> tuple[dict[str, list[Resource]], list[str]]:
    """What each provider lists as the lab's own, and what went wrong, for people."""
    found: dict[str, list[Resource]] = {}
    errors: list[str] = []
    for name, provider in providers.items():
        if isinstance(provider, Reapable):
            try:
                found[name] = []
                found[name].extend(r for r in provider.resources() if labels.is_ours(r.labels))
            except UsageError:
                del found[name]  # nobody set it up here
            except Exception as error:  # noqa: BLE001 - a provider is a plugin: what it raises must not hide the others
                errors.append(f"{name}: not all can be listed: {blame('the provider', error, provider)}")
    return found, errors


def alive(found: Mapping[str, Iterable[Resource]], leases: Iterable[LeaseView], home: Path) -> list[Alive]:
    """All of them, the oldest first. `leases` are those of the store.

    A kept server that its provider lists no more is gone; one that a run uses may be another machine's.
    """
    by_key = {lease.key: lease for lease in leases}
    servers = [
        _alive(resource, by_key.get(f"{name}/{resource.name}"), home)
        for name, resources in found.items()
        for resource in resources
        if resource.kind == "server"
    ]
    names = {f"{server.provider}/{server.name}" for server in servers}
    for key, lease in by_key.items():
        if key not in names and not lease.lapsed and (lease.state == "held" or lease.provider not in found):
            servers.append(_unlisted(lease))
    oldest = dt.datetime.min.replace(tzinfo=dt.UTC)
    return sorted(servers, key=lambda server: (server.created_at or oldest, server.name))


def _alive(resource: Resource, lease: LeaseView | None, home: Path) -> Alive:
    used = lease is not None and lease.state == "held" and not lease.lapsed
    stays = labels.is_kept(resource.labels)
    about = kept.load(home, resource.name)
    way = kept.ssh_line(home, about) if about is not None else None
    eur_per_hour = resource.eur_per_hour
    if eur_per_hour is None and lease is not None:
        eur_per_hour = lease.eur_per_hour
    return Alive(
        name=resource.name,
        provider=resource.provider,
        state=IN_USE if used else KEPT if stays else LEFT,
        run=lease.run if lease is not None and used else resource.labels.get(labels.RUN, ""),
        kept=resource.labels.get(labels.KEPT, "") if stays else "",
        test=(about.test if about is not None else lease.test if lease is not None else "") if stays else "",
        holder=lease.holder if lease is not None and used else "",
        created_at=resource.created_at or (lease.made_at if lease is not None else None),
        expires_at=labels.expires_at(resource.labels),
        eur_per_hour=eur_per_hour,
        ssh=way or (lease.address if lease is not None else ""),
    )


def _unlisted(lease: LeaseView) -> Alive:
    return Alive(
        name=lease.server,
        provider=lease.provider,
        state=IN_USE if lease.state == "held" else LISTED,
        run=lease.run,
        kept=lease.kept if lease.state == "kept" else "",
        test=lease.test if lease.state == "kept" else "",
        holder=lease.holder if lease.state == "held" else "",
        created_at=lease.made_at,
        expires_at=lease.expires_at if lease.state == "kept" else None,
        eur_per_hour=lease.eur_per_hour,
        ssh=lease.address,
    )
