"""The provider `ssh`: leases servers of an inventory, blanks them, and gives them back."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_testlab.errors import InfraError, NotBlankError, Taken, UsageError
from pytest_testlab.model import Claim, CommandResult, Server, ServerRequest
from pytest_testlab.options import Settings
from pytest_testlab.protocols import Target
from pytest_testlab.target.ssh import SshTarget
from testlab_ssh import blanking, lease
from testlab_ssh.blanking import Place
from testlab_ssh.inventory import Inventory, Listed, read_inventory
from testlab_ssh.lease import Lease

CONNECT_WITHIN_S = 10.0
BEATS = 6
"""Signs of life within the time of a lease."""
NO_INVENTORY = (
    "the provider ssh needs an inventory: name a file with --testlab-inventory that has a [[server]] table with name, "
    "address, user, identity, host-key, disposable = true and blank for each server"
)


class LeasedTarget(SshTarget):
    """The line of those who run tests: whatever they start carries the lab's mark, so that it is found afterwards."""

    def __init__(self, server: Server, *, connect_within_s: float) -> None:
        super().__init__(server, connect_within_s=connect_within_s)
        self._mark = {blanking.MARK: server.facts["identity"]}

    def run(
        self, script: str, *, timeout_s: float, cwd: str | None = None, env: Mapping[str, str] | None = None
    ) -> CommandResult:
        """As `SshTarget.run`."""
        return super().run(script, timeout_s=timeout_s, cwd=cwd, env={**(env or {}), **self._mark})


@dataclass(kw_only=True)
class Held:
    """A server that this process has leased."""

    listed: Listed
    request: ServerRequest
    lease: Lease
    target: SshTarget
    place: Place
    claim: Claim
    """What the store says of it."""
    lost: str = ""
    """Why it is ours no more."""
    spoiled: bool = False
    """Whether it could not be made blank."""
    over: threading.Event = field(default_factory=threading.Event)
    turn: threading.RLock = field(default_factory=threading.RLock)
    """Around whatever is done to the lease."""


class SshProvider:
    """Servers that one already has. Nothing but what the inventory lists is ever touched.

    A server is one run's at a time: its lease in the store keeps others away that share it, and a note on the server
    itself everybody else. Both end by themselves when the run is killed.
    """

    name = "ssh"
    default_platform = "procfile"
    blank_between_units = True

    def __init__(self, settings: Settings) -> None:
        """Read the inventory; raises `UsageError` for all that is wrong with it."""
        if settings.inventory is None:
            raise UsageError(NO_INVENTORY)
        self._inventory: Inventory = read_inventory(Path(settings.inventory))
        if settings.pool > len(self._inventory.servers):
            raise UsageError(
                f"--testlab-pool {settings.pool} is more than the servers of {self._inventory.file}, "
                f"which lists {len(self._inventory.servers)}"
            )
        self.connect_within_s = CONNECT_WITHIN_S
        self._held: dict[str, Held] = {}
        self._trying: set[str] = set()
        self._spoiled: dict[str, str] = {}
        """Servers that this run could not make blank, and why: they are not tried again."""
        self._turn = threading.Lock()

    # --- what a provider does -----------------------------------------------------------------------------------------

    def create(self, request: ServerRequest) -> Server:
        """Lease the first server that is free, and make it blank; raises `InfraError` that says why none is."""
        held = self._of(request)
        if held is not None:
            return self._handed_over(held, self._wipe(held))
        reasons: list[str] = []
        for listed in self._inventory.servers:
            why = self._reserve(listed)
            if not why:
                try:
                    return self._create(listed, request)
                except InfraError as error:
                    why = str(error)
                    request.say(why)
                finally:
                    self._trying.discard(listed.name)
            reasons.append(why)
        raise InfraError(f"no server of {self._inventory.file.name} is free: {'; '.join(reasons)}")

    def blank(self, server: Server) -> Server:
        """The same server, blanked as its inventory says, and proven so; raises `NotBlankError`."""
        held = self._held_for(server)
        if held is None:
            raise NotBlankError(f"{server.name} is not leased by this run")
        return self._handed_over(held, self._wipe(held), epoch=server.epoch + 1)

    def destroy(self, server: Server) -> None:
        """Blank a server and give it back; raises `InfraError` when it is given back as it is.

        Not listed, or somebody else's by now = done.
        """
        held = self._held_for(server) or self._left_behind(server)
        if held is None:
            return
        try:
            if not (held.spoiled or held.lost or held.claim.lost):
                self._wipe(held)
        except NotBlankError as error:
            raise InfraError(f"{server.name} is given back as it is: {error}") from error
        finally:
            self._give_back(held)

    def owned(self) -> Iterable[Server]:
        """Every listed server that a run has, or had when it died, by the lease on it; not those out of reach."""
        with ThreadPoolExecutor(8, thread_name_prefix="testlab-ssh") as threads:
            found = threads.map(self._look, self._inventory.servers)
            return [server for server in found if server is not None]

    def console(self, server: Server) -> str | None:
        """Nothing: an inventory knows no console."""
        return None

    def connect(self, server: Server) -> Target:
        """Open a line; raises `InfraError`, also when the server is leased to somebody else by now."""
        listed = self._inventory.named(server.name)
        if listed is None or "identity" not in server.facts:
            raise InfraError(f"{server.name} is not in {self._inventory.file}")
        target = LeasedTarget(server, connect_within_s=self.connect_within_s)
        try:
            found = lease.read(target, listed.lease_file)
            if found is None or found.token != server.facts.get("lease"):
                raise InfraError(f"{server.name} is not leased to this run any more")
        except BaseException:
            target.close()
            raise
        return target

    def close(self) -> None:
        """Give back what is still held, as it is; may be called twice."""
        for held in list(self._held.values()):
            self._give_back(held)

    # --- leases -------------------------------------------------------------------------------------------------------

    def _of(self, request: ServerRequest) -> Held | None:
        same = (request.run, request.slot)
        return next((held for held in list(self._held.values()) if (held.request.run, held.request.slot) == same), None)

    def _held_for(self, server: Server) -> Held | None:
        held = self._held.get(server.name)
        return held if held is not None and held.lease.token == server.facts.get("lease") else None

    def _reserve(self, listed: Listed) -> str:
        """Keep this run's other slots away from a server while it is tried; returns why it can't be, or ""."""
        with self._turn:
            if listed.name in self._held or listed.name in self._trying:
                return f"{listed.name} is another target of this run"
            if listed.name in self._spoiled:
                return self._spoiled[listed.name]
            self._trying.add(listed.name)
            return ""

    def _create(self, listed: Listed, request: ServerRequest) -> Server:
        held = self._take(listed, request, Lease(token=secrets.token_hex(8), run=request.run, trigger=request.trigger))
        try:
            return self._handed_over(held, self._wipe(held))
        except BaseException:
            self._give_back(held)
            raise

    def _take(self, listed: Listed, request: ServerRequest, wanted: Lease) -> Held:
        """The store's lease, a line, the note there, in this order; raises `InfraError`, and holds nothing then."""
        with contextlib.ExitStack() as undo:
            try:
                claim = request.claim(listed.identity)
            except Taken as taken:
                raise Taken(listed.name, taken.holder) from taken
            undo.callback(claim.release)
            target = SshTarget(_plain(listed), connect_within_s=self.connect_within_s)
            undo.callback(target.close)
            lease.take(target, listed.lease_file, wanted, self._inventory.lease_s)
            undo.callback(lease.release, target, listed.lease_file, wanted)
            place = Place(listed=listed, root=listed.root or _root(target))
            undo.pop_all()
        held = Held(listed=listed, request=request, lease=wanted, target=target, place=place, claim=claim)
        with self._turn:
            self._held[listed.name] = held
        threading.Thread(target=self._beat, args=(held,), name=f"testlab-lease-{listed.name}", daemon=True).start()
        return held

    def _left_behind(self, server: Server) -> Held | None:
        """Take over what a dead run left; None when it is not listed, free, or somebody else's by now.

        Raises `Taken` while the note there is not past: its run may live.
        """
        listed, token = self._inventory.named(server.name), server.facts.get("lease", "")
        if listed is None or not token:
            return None
        found = self._holder(listed)
        if found is None or found.token != token:
            return None
        wanted = replace(found, token=secrets.token_hex(8), until=None)
        return self._take(listed, ServerRequest(run=found.run, slot=0), wanted)

    def _give_back(self, held: Held) -> None:
        held.over.set()
        with self._turn:
            self._held.pop(held.listed.name, None)
        with held.turn:
            if not held.lost:
                with contextlib.suppress(InfraError):  # it ends by itself
                    lease.release(held.target, held.listed.lease_file, held.lease)
        held.claim.release()
        held.target.close()

    def _beat(self, held: Held) -> None:
        """Hold a lease for as long as it is wanted; on a thread of its own, so that a dead server delays no other."""
        while not held.over.wait(self._inventory.lease_s / BEATS):
            with held.turn:
                if not held.over.is_set() and not held.lost:
                    with contextlib.suppress(InfraError):  # it may be rebooting, or gone; whoever needs it will say so
                        self._hold(held)

    def _look(self, listed: Listed) -> Server | None:
        held = self._held.get(listed.name)
        if held is not None:
            return self._server(held, {})
        try:
            found = self._holder(listed)
        except InfraError:
            return None
        return None if found is None else _leased(_plain(listed), found)

    def _holder(self, listed: Listed) -> Lease | None:
        """Who has a server, or had it last; raises `InfraError`."""
        target = SshTarget(_plain(listed), connect_within_s=self.connect_within_s)
        try:
            return lease.read(target, listed.lease_file)
        finally:
            target.close()

    # --- blanking -----------------------------------------------------------------------------------------------------

    def _wipe(self, held: Held) -> dict[str, str]:
        try:
            self._make_sure(held)
            proof = blanking.wipe(held.target, held.place)
            self._hold(held)  # the disk may have been put back, and the lease with it
        except InfraError as error:
            held.spoiled = True
            self._spoiled[held.listed.name] = str(error)
            raise error if isinstance(error, NotBlankError) else NotBlankError(str(error)) from error
        return proof

    def _make_sure(self, held: Held) -> None:
        """Never wipe what is another's by now. Of a server that doesn't answer the store's word must do."""
        try:
            self._hold(held)
        except (Taken, NotBlankError):
            raise
        except InfraError:
            with held.turn:
                if held.listed.blank.command is None or held.claim.lost:
                    raise

    def _hold(self, held: Held) -> None:
        """Make sure of the lease; raises `Taken` when it was lost, else `InfraError`."""
        with held.turn:
            held.lost = held.lost or held.claim.lost
            if held.lost:
                raise NotBlankError(held.lost)
            try:
                lease.renew(held.target, held.listed.lease_file, held.lease, self._inventory.lease_s)
            except Taken as taken:
                held.lost = f"{held.listed.name} was lost: {taken}"
                raise

    def _handed_over(self, held: Held, proof: Mapping[str, str], *, epoch: int = 0) -> Server:
        blanking.leave_marker(held.target, held.place)
        server = replace(self._server(held, proof), epoch=epoch)
        if held.listed.blank.script is not None and held.listed.blank.reboot is None:
            return server
        # After a rollback or a reboot nobody at the other end knows of the lines that there were.
        return replace(server, facts={**server.facts, "blanked": str(epoch)})

    def _server(self, held: Held, proof: Mapping[str, str]) -> Server:
        server = _leased(_plain(held.listed), held.lease)
        return replace(server, facts={**server.facts, "root": held.place.root}, proof=proof)


def _plain(listed: Listed) -> Server:
    """A listed server as nobody has it."""
    facts = {"ports": listed.ports, "user": listed.user, "identity": listed.identity}
    facts |= {} if listed.root is None else {"root": listed.root}
    return Server(
        name=listed.name, provider=SshProvider.name, ssh=listed.ssh, isolation="a machine of its own", facts=facts
    )


def _leased(server: Server, found: Lease) -> Server:
    return replace(server, facts={**server.facts, "run": found.run, "lease": found.token})


def _root(target: Target) -> str:
    """The platform's own default."""
    script = '[ "$(id -u)" = 0 ] && echo /var/lib/testlab || echo "$HOME/testlab"'
    root = target.run(script, timeout_s=CONNECT_WITHIN_S).stdout.decode(errors="replace").strip()
    if not root.startswith("/"):
        raise InfraError(f"{target.server.name}: its account has no home; name a root in the inventory")
    return root
