"""Which of a run's servers outlive it, with the way there on disk, and labels that hold the reaper off for a while."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pytest_testlab import labels
from pytest_testlab.errors import InfraError, UsageError
from pytest_testlab.model import Resource, Server
from pytest_testlab.pool import kept
from pytest_testlab.pool.kept import KeptServer
from pytest_testlab.protocols import Provider, Reapable

MOST = 2
"""Servers that a run may take out of its pool to keep them, so that others are made in their place. Those that still
stand at its end are kept as well, however many: they cost nothing more until then."""
FAILED, ALWAYS = "failed", "always"


def _utc_now() -> dt.datetime:
    """This machine's clock, as labels are compared with it."""
    return dt.datetime.now(dt.UTC)


class Keeping:
    """What `--testlab-keep` asks of one run; safe to use from several threads."""

    def __init__(
        self,
        provider: Provider,
        *,
        mode: str,
        seconds: float,
        run: str,
        platform: str,
        home: Path,
        now: Callable[[], dt.datetime] = _utc_now,
    ) -> None:
        """Raises `UsageError` where nothing that the provider makes can outlive its run."""
        if not isinstance(provider, Reapable):
            raise UsageError(
                f"--testlab-keep {mode}: what the provider {provider.name} gives can't outlive its run; leave it out, "
                "or use a provider whose servers can"
            )
        self._provider: Provider = provider
        self._reapable: Reapable = provider
        self._mode = mode
        self._lifetime = dt.timedelta(seconds=seconds)
        self._run = run
        self._platform = platform
        self._home = home
        self._now = now
        self._lock, self._saving = threading.Lock(), threading.Lock()
        self._taken = 0
        self._kept: dict[str, tuple[KeptServer, dt.datetime]] = {}

    def may_take_out(self) -> bool:
        """Count one more that is taken out of the pool; False when that would be too many."""
        with self._lock:
            if self._taken >= MOST:
                return False
            self._taken += 1
            return True

    def wants(self, test: str) -> bool:
        """Whether a server that is there at the end is kept; `test` is the one that failed on it, if any."""
        return self._mode == ALWAYS or bool(test)

    def keep(self, server: Server, test: str) -> dt.datetime:
        """Have a server outlive the run, and say until when; raises `InfraError`. Again = for as long from now on.

        The way there is on disk before the label says that it is kept: a key without a server is only litter.
        """
        with self._saving:
            until = self._now() + self._lifetime
            about = self._about(server, test)
            kept.save(self._home, about)
            try:
                self._label(server, {labels.KEPT: about.why, labels.EXPIRES: labels.moment(until)})
            except Exception:
                kept.forget(self._home, server.name)
                raise
            with self._lock:
                self._kept[server.name] = (about, until)
            return until

    def why(self, test: str) -> str:
        """Why a server is kept on which that test failed, or none."""
        return FAILED if test else ALWAYS

    def take_back(self, server: Server, expires_at: dt.datetime | None) -> None:
        """It ends with the run after all; raises `InfraError`."""
        with self._lock:
            self._kept.pop(server.name, None)
            self._taken -= 1
        kept.forget(self._home, server.name)
        self._label(server, {labels.KEPT: "no", labels.EXPIRES: labels.moment(expires_at or self._now())})

    def prolong(self) -> None:
        """Put off the end of what was kept so far: while the run goes on none of it expires. Raises `InfraError`."""
        with self._lock:
            found = list(self._kept.items())
        for name, (about, _) in found:
            until = self._now() + self._lifetime
            self._label(about.server, {labels.EXPIRES: labels.moment(until)})
            with self._lock:
                self._kept[name] = (about, until)

    def told(self) -> list[tuple[KeptServer, dt.datetime, str | None]]:
        """What was kept, until when, and what to type to get there."""
        with self._lock:
            found = sorted(self._kept.items())
        return [(about, until, kept.ssh_line(self._home, about)) for _, (about, until) in found]

    def _about(self, server: Server, test: str) -> KeptServer:
        with self._lock:
            known = self._kept.get(server.name)
        return KeptServer(
            server=server,
            platform=self._platform,
            run=self._run,
            why=self.why(test),
            test=test,
            kept_at=known[0].kept_at if known else self._now(),
        )

    def _label(self, server: Server, values: dict[str, str]) -> None:
        for resource in parts_of(list(self._reapable.resources()), server.name):
            self._reapable.write_labels(resource, values)


def parts_of(listed: Sequence[Resource], name: str) -> list[Resource]:
    """A server, and what else was made for the same place of the same run: addresses, keys. Raises `InfraError`."""
    found = next((resource for resource in listed if resource.kind == "server" and resource.name == name), None)
    if found is None:
        raise InfraError(f"no server is called {name}: it is gone")
    place = _place(found)
    others = [r for r in listed if r is not found and r.kind not in ("server", "snapshot") and _place(r) == place]
    return [found, *(others if all(place) else [])]


def _place(resource: Resource) -> tuple[str, str]:
    return resource.labels.get(labels.RUN, ""), resource.labels.get(labels.SLOT, "")
