"""The provider `hetzner`: makes, blanks and deletes servers of Hetzner Cloud."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from pytest_testlab import labels
from pytest_testlab.errors import InfraError, NotBlankError
from pytest_testlab.model import Resource, Server, ServerRequest, SshAddress
from pytest_testlab.options import Settings
from pytest_testlab.protocols import Target
from pytest_testlab.target.ssh import SshTarget
from testlab_hetzner import console, firstboot, proof
from testlab_hetzner.actions import Actions
from testlab_hetzner.capacity import Capacity
from testlab_hetzner.cloud import Cloud
from testlab_hetzner.firstboot import KEY, KeyPair, new_key, pair_of, user_data
from testlab_hetzner.keys import Keys
from testlab_hetzner.machines import Machine, Step, step_of
from testlab_hetzner.making import Maker
from testlab_hetzner.prices import Prices
from testlab_hetzner.resources import KEY as KEY_KIND
from testlab_hetzner.resources import SERVER, SNAPSHOT, Resources
from testlab_hetzner.servers import Order, Servers
from testlab_hetzner.snapshots import Freezer
from testlab_hetzner.times import Times
from testlab_hetzner.wishes import IMAGE, token, wishes

USER = "root"
LIFE = dt.timedelta(hours=12)
"""Of what nobody gave an expiry."""


class HetznerProvider:
    """Servers of one project of Hetzner Cloud. Only what carries the lab's labels is ever touched.

    A worker, which only connects to servers, needs no token.
    """

    name = "hetzner"
    default_platform = "procfile"
    blank_between_units = True
    default_image = IMAGE

    def __init__(self, settings: Settings, times: Times | None = None) -> None:
        """Read the settings; raises `UsageError` for what can't be used of them, and for want of a token."""
        self._wishes = wishes(settings)
        self._steers = settings.steers
        if settings.steers:
            token(settings)
        self._times = times or Times()
        self._cloud = Cloud(self._wishes.endpoint, lambda: token(settings), self._times)
        self._servers = Servers(self._cloud)
        self._actions = Actions(self._look, self._times)
        self._capacity = Capacity(self._wishes.types, self._wishes.locations, self._times.refusal)
        self._maker = Maker(self._servers, self._actions, self._capacity, self._times)
        self._keys = Keys(self._cloud)
        self._prices = Prices(self._cloud)
        self._resources = Resources(self._cloud, self._servers, self._prices)
        self._freezer = Freezer(self._cloud, self._servers, self._actions)
        self._froze = False
        """Whether a snapshot was ever asked for."""

    # --- what a provider does -----------------------------------------------------------------------------------------

    def create(self, request: ServerRequest) -> Server:
        """The server of a slot, blank and proven so, of a type and at a location that is to be had.

        Raises `InfraError` with what was tried; then nothing is left of it, unless the API can't be asked.
        """
        host, image = new_key(), request.image or IMAGE
        own = _labels(request)
        key = self._keys.of(request.run, own)
        order = Order(
            name=request.name,
            image=image,
            snapshot=request.snapshot,
            user_data=user_data(host, key.pair),
            labels={**own, KEY: host.digest},
            ssh_key=key.id,
            public_ipv4=self._wishes.jump is None,
            networks=[] if self._wishes.network is None else [self._servers.network(self._wishes.network)],
        )
        machine = self._maker.make(order, request.say)
        try:
            server = self._server(machine, request.run, image, request.snapshot, host, key.pair)
            return self._first_proof(server, request)
        except BaseException:
            with contextlib.suppress(InfraError):  # the reaper finds it
                self._servers.remove(machine.name, machine.id)
            raise

    def blank(self, server: Server) -> Server:
        """The same server with the image it was made from in place of its disk, proven so; raises `NotBlankError`."""
        if server.ssh is None or server.image is None:
            raise NotBlankError(f"{server.name} is only known by its labels: nothing says what it was made from")
        host, client = new_key(), pair_of(server.ssh.private_key)
        try:
            machine = self._servers.find(server.name, _id(server))
            if machine is None:
                raise NotBlankError(f"{server.name} is gone")
            step = self._servers.rebuild(machine, server.image, server.snapshot, user_data(host, client))
            self._actions.wait(server.name, [step], within_s=self._times.start, boots=True)
            ssh = replace(server.ssh, host_key=host.public)
            return self._proven(replace(server, ssh=ssh, epoch=server.epoch + 1), before=server.proof)
        except NotBlankError:
            raise
        except InfraError as error:
            raise NotBlankError(f"{server.name} can't be made blank: {error}") from error

    def destroy(self, server: Server) -> None:
        """Delete a server, and see that it is listed no more; gone already = done. Raises `InfraError`."""
        self._servers.remove(server.name, _id(server))

    def owned(self) -> Iterable[Server]:
        """Every server of the project that carries the lab's label, from any machine; raises `InfraError`."""
        return [self._listed(machine) for machine in self._servers.all()]

    def console(self, server: Server) -> str | None:
        """The server's status and actions with their errors, and who answers at its SSH port.

        A worker, which can't ask the API, tells only the latter.
        """
        told = [console.of_the_api(self._servers, server, _id(server))] if self._steers else []
        return "\n".join([*told, console.of_sshd(server, self._times.line)])

    def connect(self, server: Server) -> Target:
        """Open a line; raises `InfraError`. Needs no token."""
        return SshTarget(server, connect_within_s=self._times.line)

    def close(self) -> None:
        """Remove the keys that were made for runs; raises `InfraError`. May be called twice."""
        self._keys.close()

    # --- for the reaper, and for golden snapshots ---------------------------------------------------------------------

    def resources(self, kinds: Collection[str] | None = None) -> Iterable[Resource]:
        """Servers, snapshots, primary addresses and SSH keys with the lab's label; see `protocols.Reapable`."""
        return self._resources.all(kinds)

    def settle(self, run: str) -> Collection[str]:
        """Remove the run's key; see `protocols.Settles`. Addresses are a server's own: they go with it."""
        self._keys.end(run)
        return {SERVER, *({KEY_KIND} if self._keys.left(run) else ()), *({SNAPSHOT} if self._froze else ())}

    def remove(self, resource: Resource) -> None:
        """Remove it for good; gone already = done. Raises `InfraError`, also for what isn't labelled as disposable."""
        self._resources.remove(resource)

    def write_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
        """Set these of its labels, keep the others; raises `InfraError`, also when it is gone."""
        self._resources.write_labels(resource, labels)

    def snapshot(self, server: Server, labels: Mapping[str, str]) -> str:
        """Freeze its disk while it is switched off, and start it again; raises `InfraError`."""
        self._froze = True
        target = self.connect(server)
        try:
            frozen = self._freezer.freeze(server.name, _id(server), target, labels)
            target.close()
            self._mark(server)
            return frozen
        finally:
            target.close()

    def bare(self, request: ServerRequest) -> Mapping[str, str]:
        """The image, and what every server is told for its first boot."""
        return {"image": request.image or IMAGE, "first-boot": firstboot.digest()}

    # --- on the way ---------------------------------------------------------------------------------------------------

    def _look(self, ids: Sequence[int]) -> Mapping[int, Step]:
        """What the API says of actions."""
        from hcloud.actions import Action

        answer = self._cloud.ask(
            "asking for actions",
            lambda client: client.request("GET", "/actions", params={"id": list(ids)})["actions"],
            within_s=self._times.longest_poll,
        )
        return {step.id: step for step in (step_of(Action.from_dict(action)) for action in answer)}

    def _first_proof(self, server: Server, request: ServerRequest) -> Server:
        try:
            return self._proven(server, before={})
        except InfraError:
            request.say(f"the console of {server.name}:\n{self.console(server)}")  # it goes with its server
            raise

    def _proven(self, server: Server, before: Mapping[str, str]) -> Server:
        """Once SSH leads there by the host key that it was given; raises `InfraError` or `NotBlankError`."""
        target = SshTarget(server, connect_within_s=self._times.ssh, longest_pause_s=self._times.ssh_pause)
        try:
            seen = proof.look_and_mark(target, self._times.first_boot)
        finally:
            target.close()
        found = proof.judge(server.name, server.image or "", seen, before, server.snapshot)
        return replace(server, proof=found, facts={**server.facts, "root": seen["root"][0]})

    def _mark(self, server: Server) -> None:
        """Have it hold the marker again, once it is back."""
        target = SshTarget(server, connect_within_s=self._times.ssh, longest_pause_s=self._times.ssh_pause)
        try:
            proof.look_and_mark(target, self._times.first_boot)
        finally:
            target.close()

    def _server(
        self, machine: Machine, run: str, image: str, snapshot: str | None, host: KeyPair, client: KeyPair
    ) -> Server:
        listed = self._listed(machine)
        ssh = SshAddress(
            host=self._address(machine),
            port=self._wishes.ssh_port,
            user=USER,
            private_key=client.private,
            host_key=host.public,
            jump=self._wishes.jump,
        )
        return replace(listed, ssh=ssh, image=image, snapshot=snapshot, facts={**listed.facts, "run": run})

    def _address(self, machine: Machine) -> str:
        """Where the lab, or the jump host, reaches it; raises `InfraError`."""
        if self._wishes.jump is None:
            return machine.ipv4
        if self._wishes.network is None:
            return machine.ipv6
        there = machine if machine.private else self._servers.find(machine.name, machine.id)  # not before it is made
        if there is None or not there.private:
            raise InfraError(f"{machine.name} has no address in the network {self._wishes.network}")
        return there.private[0]

    def _listed(self, machine: Machine) -> Server:
        facts = {
            "id": str(machine.id),
            "user": USER,
            "type": machine.type,
            "location": machine.location,
            "run": machine.labels.get(labels.RUN, ""),
        }
        return Server(
            name=machine.name,
            provider=self.name,
            image=machine.image or None,
            isolation="own kernel",
            facts=facts,
            eur_per_hour=self._price(machine),
        )

    def _price(self, machine: Machine) -> float | None:
        """None where the price list can't be had: no server is lost to that."""
        try:
            return self._prices.server(machine.type, machine.location, ipv4=bool(machine.ipv4))
        except InfraError:
            return None


def _labels(request: ServerRequest) -> dict[str, str]:
    expires_at = request.expires_at or dt.datetime.now(dt.UTC) + LIFE
    return {**labels.labels_of(run=request.run, expires_at=expires_at, slot=request.slot), **request.labels}


def _id(server: Server) -> int | None:
    text = server.facts.get("id", "")
    return int(text) if text.isdecimal() else None
