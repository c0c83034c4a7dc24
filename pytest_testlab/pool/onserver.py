"""A kept server as the only one of a run: used as it is, and left as the run leaves it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import replace

from pytest_testlab import labels
from pytest_testlab.errors import InfraError, NotBlankError
from pytest_testlab.model import Claim, Resource, Server, ServerRequest
from pytest_testlab.pool.kept import KeptServer
from pytest_testlab.pool.leases import Lease
from pytest_testlab.protocols import Provider, Reapable, Target

AT_LEAST = dt.timedelta(hours=1)
"""How long it must still stand when a run begins on it; it is put off where it would expire before."""
NOT_BLANK = "no"


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class OnServer:
    """Stands for the provider that made the server; makes nothing, wipes nothing, removes nothing."""

    def __init__(self, provider: Provider, kept: KeptServer, *, now: Callable[[], dt.datetime] = _utc_now) -> None:
        self.name = provider.name
        self.default_platform = provider.default_platform
        self.blank_between_units = False
        self._provider = provider
        self._kept = kept
        self._now = now
        self._claim: Claim | None = None

    def create(self, request: ServerRequest) -> Server:
        """Take the server, for as long as the run lasts; raises `Taken`, or another `InfraError` when it is gone."""
        if self._claim is None:
            self._claim = request.claim(self._kept.name)
        self._stand_by()
        return self._as_it_is(self._kept.server)

    def blank(self, server: Server) -> Server:
        """The same server as it is, under a new epoch; raises `NotBlankError` when it is gone."""
        try:
            self._stand_by()
        except InfraError as error:
            raise NotBlankError(str(error)) from error
        return replace(self._as_it_is(server), epoch=server.epoch + 1)

    def destroy(self, server: Server) -> None:
        """Nothing: whoever uses it next finds what the run left."""

    def owned(self) -> Iterable[Server]:
        """None: it is no run's own."""
        return ()

    def console(self, server: Server) -> str | None:
        """As its provider has it."""
        return self._provider.console(server)

    def connect(self, server: Server) -> Target:
        """As its provider does."""
        return self._provider.connect(server)

    def close(self) -> None:
        """End what the provider holds open."""
        end = getattr(self._provider, "close", None)
        if end is not None:
            end()

    def give_back(self, lease: Lease) -> None:
        """Let go of the server, which stands as long as it did; never raises."""
        try:
            until = labels.expires_at(self._resource().labels)
        except InfraError:
            until = None
        if until is None:
            lease.release()
        else:
            lease.keep(until, self._kept.why, self._kept.test)

    def _stand_by(self) -> None:
        """See to it that the server is there, and stays for a while."""
        found = self._resource()
        until, needed = labels.expires_at(found.labels), self._now() + AT_LEAST
        if isinstance(self._provider, Reapable) and (until is None or until < needed):
            self._provider.write_labels(found, {labels.EXPIRES: labels.moment(needed)})

    def _resource(self) -> Resource:
        listed = self._provider.resources({"server"}) if isinstance(self._provider, Reapable) else ()
        found = next((r for r in listed if r.kind == "server" and r.name == self._kept.name), None)
        if found is None or not labels.is_kept(found.labels):
            raise InfraError(f"the kept server {self._kept.name} is gone: it expired, or somebody released it")
        return found

    def _as_it_is(self, server: Server) -> Server:
        kept = self._kept
        why = f"{kept.test} failed there" if kept.test else f"all servers of run {kept.run} were"
        return replace(server, proof={"blank": NOT_BLANK, "used as it is": f"kept by run {kept.run}, because {why}"})
