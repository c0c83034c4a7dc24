"""Golden snapshots: the platform is installed once, and other servers start from that disk.

A snapshot is found by the digest of all that went into it, which stands in a label of its own: no store is asked, and
runs of other machines find it too. It is labelled in two steps, so that one whose making was cut short is never taken
for whole: without a digest nobody starts from it, and it expires within the hour.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pytest_testlab import labels
from pytest_testlab.errors import InfraError, TestlabError
from pytest_testlab.model import Resource, Server, ServerRequest
from pytest_testlab.protocols import Foreseeable, Platform, Provider, Reapable, Snapshots

KIND = "snapshot"
"""Of `Resource`."""
KEPT = 2
"""Of a family, the newest."""
EXPIRES = dt.timedelta(days=7)
"""After its last use, for the reaper."""
OLDEST = dt.timedelta(days=7)
"""What is older has missed a week of updates, and nothing is started from it."""
UNFINISHED = dt.timedelta(hours=1)
"""For one that isn't labelled as whole yet."""
PAYS_S = 20.0
"""An install that is quicker than that isn't worth a snapshot."""
HOLD_S = 600.0
"""How long the other targets of a night wait for its own snapshot, at most: then they start bare."""


class Over(TestlabError):
    """The run ended while a slot waited for a snapshot: nothing was made for it, and nothing went wrong."""


@runtime_checkable
class CanFreeze(Provider, Reapable, Snapshots, Protocol):
    """A provider whose servers can be frozen, and whose snapshots can be found and removed."""


@runtime_checkable
class Known(Platform, Foreseeable, Protocol):
    """A platform that knows what its install depends on."""


@dataclass(kw_only=True)
class _Image:
    """What is known for one image; changed under the lock only."""

    digest: str = ""
    family: str = ""
    snapshot: str | None = None
    looked: bool = False
    making: bool = False
    why_not: str = ""
    """Why there will be none in this run."""
    installer: int | None = None
    """The slot on which a night installs from scratch."""
    let_go: bool = False
    """Whether nobody waits for it any more."""


class Golden:
    """The golden snapshots of one run; safe to use from several threads. No call but `start_from` waits for others."""

    def __init__(
        self,
        provider: CanFreeze,
        platform: Known,
        *,
        run: str,
        always: bool = False,
        trusts: bool = True,
        install_s: Callable[[str], float | None] = lambda image: None,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        hold_s: float = HOLD_S,
    ) -> None:
        """`trusts`: whether snapshots of other runs will do. `install_s`: seconds that an install took before."""
        self._provider = provider
        self._platform = platform
        self._run = run
        self._always = always
        self._trusts = trusts
        self._install_s = install_s
        self._now = now
        self._hold_s = hold_s
        self._images: dict[str, _Image] = {}
        self._turn = threading.Condition()
        self._looking = threading.Lock()
        self._over = False

    # --- to start from ------------------------------------------------------------------------------------------------

    def start_from(self, request: ServerRequest) -> str | None:
        """What a server is to be made from: a snapshot, or None for the bare disk. On a thread of the pool.

        In a night all but the first server of an image wait for the one that the night itself makes, or until there
        will be none. Raises `Over` when the run ended meanwhile.
        """
        image = self._image(request.image or "")
        with self._looking:
            if not image.looked:
                self._look(image, request)
        if self._trusts:
            return image.snapshot
        return self._wait(image, request)

    def _look(self, image: _Image, request: ServerRequest) -> None:
        """Find out the digest, and the newest snapshot that has it."""
        image.looked = True
        try:
            image.digest, image.family = self._digests(request)
            found = self._newest(image) if self._trusts else None
        except Exception as error:  # noqa: BLE001 - whatever a plugin raised: a bare server will do
            image.why_not = f"what goes into one can't be told: {type(error).__name__}: {error}"
            request.say(f"no golden snapshot: {image.why_not}")
            return
        if found is not None:
            with self._turn:
                image.snapshot = found.id
            request.say(f"starts from the golden snapshot {found.id}, digest {image.digest}")

    def _digests(self, request: ServerRequest) -> tuple[str, str]:
        family = {"provider": self._provider.name, "image": request.image or "", "platform": self._platform.name}
        bare, inputs = dict(self._provider.bare(request)), dict(self._platform.inputs())
        return _digest({**family, "bare": bare, "inputs": inputs})[:32], _digest(family)[:32]

    def _newest(self, image: _Image) -> Resource | None:
        """The newest of its digest that is neither stale nor about to be removed, put off until it was last used."""
        now = self._now()
        for found in self._family(image):
            expires = labels.expires_at(found.labels)
            fresh = found.created_at is None or now - found.created_at < OLDEST
            if found.labels.get(labels.DIGEST) == image.digest and fresh and (expires is None or expires > now):
                try:
                    self._provider.write_labels(found, {labels.EXPIRES: labels.moment(now + EXPIRES)})
                except InfraError:
                    continue  # gone since it was listed
                return found
        return None

    def _family(self, image: _Image) -> list[Resource]:
        """All whole snapshots of the family, the newest first."""
        own = [
            it for it in self._listed() if it.labels.get(labels.FAMILY) == image.family and labels.DIGEST in it.labels
        ]
        return sorted(own, key=_made_at, reverse=True)

    def _listed(self) -> Iterator[Resource]:
        """The lab's snapshots, as far as they can be listed."""
        try:
            for found in self._provider.resources({KIND}):
                if found.kind == KIND and labels.is_disposable(found.labels):
                    yield found
        except InfraError:
            return  # something else can't be listed; what could be counts

    def _wait(self, image: _Image, request: ServerRequest) -> str | None:
        short = self._install_s(request.image or "")
        with self._turn:
            if image.snapshot is None and image.installer in (None, request.slot):
                image.installer = request.slot
                return None
            if not self._always and short is not None and short < PAYS_S:
                return image.snapshot
            if image.snapshot is None and not (image.let_go or image.why_not):
                request.say("waits for the golden snapshot of this night")
            self._turn.wait_for(lambda: self._settled(image), self._hold_s)
            if self._over:
                raise Over("the run is over")
            if image.snapshot is None and image.installer is None:
                image.installer = request.slot
            elif image.snapshot is None and not image.let_go:
                image.let_go = True
                request.say(
                    f"starts bare: {image.why_not or f'there was no golden snapshot within {self._hold_s:g} s'}"
                )
                self._turn.notify_all()
            return image.snapshot

    def _settled(self, image: _Image) -> bool:
        return bool(
            self._over or image.let_go or image.why_not or image.snapshot is not None or image.installer is None
        )

    def proof(self, image: str) -> str:
        """What is to be said of a server that was made from the snapshot, where its blankness is proven."""
        known = self._image(image)
        return f"{known.snapshot}, digest {known.digest}"

    def snapshot(self, image: str) -> str | None:
        """The one to start from, if there is one by now."""
        return self._image(image).snapshot

    def missed(self, image: str, snapshot: str) -> None:
        """Nothing could be made from a snapshot: in this run nobody tries that again."""
        with self._turn:
            known = self._image(image)
            if known.snapshot == snapshot:
                known.snapshot, known.why_not = None, f"nothing could be made from {snapshot}"
            self._turn.notify_all()

    def slot_lost(self, slot: int) -> None:
        """Whoever waits for what this slot was to make goes on: one of them installs in its place."""
        with self._turn:
            for image in self._images.values():
                if image.installer == slot:
                    image.installer = None
            self._turn.notify_all()

    def give_up(self, image: str, why: str) -> None:
        """There will be no snapshot of this image: whoever waits for it starts bare."""
        with self._turn:
            known = self._image(image)
            known.making, known.why_not = False, known.why_not or why
            self._turn.notify_all()

    def close(self) -> None:
        """The run is over: nobody waits any longer."""
        with self._turn:
            self._over = True
            self._turn.notify_all()

    # --- to make one --------------------------------------------------------------------------------------------------

    def claim(self, server: Server, image: str, install_s: float | None) -> bool:
        """Whether to freeze a server now on which nothing but the platform is; True to one caller only. Never waits.

        `install_s` is how long that install took, from scratch; None where it is not known to be there.
        """
        with self._turn:
            known = self._image(image)
            worth = install_s is not None and (self._always or install_s >= PAYS_S)
            if install_s is not None and not worth and not known.why_not:
                known.why_not = f"the platform is installed in {install_s:.0f} s"
                self._turn.notify_all()
            free = known.looked and not (known.making or known.why_not or known.snapshot or self._over)
            if not (worth and free and server.snapshot is None):
                return False
            known.making = True
            return True

    def make(self, server: Server, image: str) -> Resource:
        """Freeze a server that was claimed, and remove what is too old; raises `InfraError`. On a thread of the pool.

        Killed before its end it leaves nothing that anybody would start from, and that the reaper wouldn't find.
        """
        known = self._image(image)
        written = labels.labels_of(run=self._run, expires_at=self._now() + UNFINISHED)
        made = self._provider.snapshot(server, written)
        found = next((it for it in self._listed() if it.id == made), None)
        if found is None:
            raise InfraError(f"the snapshot {made} of {server.name} was made, and is not listed")
        whole = {labels.DIGEST: known.digest, labels.FAMILY: known.family}
        self._provider.write_labels(found, {**whole, labels.EXPIRES: labels.moment(self._now() + EXPIRES)})
        with self._turn:
            known.snapshot, known.making = made, False
            self._turn.notify_all()
        return found

    def prune(self, image: str) -> list[str]:
        """Remove all but the last two of a family; returns what could not be removed, and why."""
        errors = []
        for old in self._family(self._image(image))[KEPT:]:
            try:
                self._provider.remove(old)
            except InfraError as error:
                errors.append(f"the old snapshot {old.name} stays until it expires: {error}")
        return errors

    def _image(self, image: str) -> _Image:
        return self._images.setdefault(image, _Image())


def _made_at(resource: Resource) -> float:
    """By what the provider says, else by when it expires: that was put off at its last use."""
    moment = resource.created_at or labels.expires_at(resource.labels)
    return 0.0 if moment is None else moment.timestamp()


def _digest(what: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
