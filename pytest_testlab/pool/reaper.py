"""Removes what runs left behind: by labels alone, from any machine, without the store and without memory.

What isn't the lab's own, isn't disposable, or hasn't expired yet is never touched.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from pytest_testlab import labels
from pytest_testlab.model import Resource
from pytest_testlab.moments import shown
from pytest_testlab.protocols import Provider, Reapable, Settles
from pytest_testlab.seams import blame

GRACE_S = 600.0
"""How long after its expiry something is left alone: clocks differ, and a run may be about to renew it."""
GOLDEN_KEPT = 2
"""So many snapshots of one family are kept whether or not they have expired: the newest."""
WITHIN_S = 300.0
"""For all that one provider has; what isn't done by then is left for the next time, which is said."""
ROUNDS = 3
"""How often something that can't be removed is tried: its server may still be on its way out."""
PAUSE_S = 1.0
AT_ONCE = 8
SERVER = "server"
SNAPSHOT = "snapshot"
_ORDER = {SERVER: 0, SNAPSHOT: 1, "network": 3}
"""Servers before what hangs on them, networks after all that is in them; everything else is 2."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Something that carries the lab's label and was left alone."""

    resource: Resource
    why: str


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """What a pass of the reaper did."""

    deleted: tuple[Resource, ...] = ()
    """Gone, and no longer listed; or, where nothing was to be touched, what would go."""
    kept: tuple[Kept, ...] = ()
    errors: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Providers that were not asked, and why."""

    def __add__(self, other: Reaped) -> Reaped:
        return Reaped(
            deleted=self.deleted + other.deleted,
            kept=self.kept + other.kept,
            errors=self.errors + other.errors,
            skipped={**self.skipped, **other.skipped},
        )


Judge = Callable[[Sequence[Resource]], Mapping[tuple[str, str], str]]
"""Of all that there is: what is kept, by kind and id, and why. All else goes."""


def reap(
    providers: Mapping[str, Provider],
    *,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
    within_s: float = WITHIN_S,
    now: dt.datetime | None = None,
) -> Reaped:
    """Remove what has expired of every provider; they are asked side by side, and none can hold up the others.

    Never raises for a provider's sake: its errors are in what is returned.
    """
    moment = now or dt.datetime.now(dt.UTC)
    done: dict[str, Reaped] = {}

    def work(name: str, provider: Provider) -> None:
        if isinstance(provider, Reapable):
            done[name] = _remove(
                name, provider, lambda found: spared(found, moment, grace_s), dry_run=dry_run, within_s=within_s
            )
        else:
            done[name] = Reaped(skipped={name: "what it makes ends with the process that asked for it, or is yours"})

    threads = {
        name: threading.Thread(target=work, args=(name, provider), name=f"testlab-reaper-{name}", daemon=True)
        for name, provider in providers.items()
    }
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + within_s * 1.2
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    total = Reaped()
    for name in threads:
        total += done.get(name) or Reaped(errors=(f"{name}: it did not answer within {within_s:g} s",))
    return total


def sweep(provider: Provider, *runs: str, within_s: float = 120.0, kinds: Collection[str] | None = None) -> Reaped:
    """Remove all that runs made, whether or not it has expired, but what is to outlive it: kept servers, snapshots.

    Done when a list by the runs' label comes back empty twice. `kinds`: all of which there can be anything. Never
    raises for the provider's sake.
    """
    if not isinstance(provider, Reapable):
        return Reaped()
    return _remove(
        provider.name, provider, lambda found: _of_others(found, runs), within_s=within_s, insist=True, kinds=kinds
    )


def sweep_own(provider: Provider, run: str, within_s: float = 120.0) -> Reaped:
    """The same at the end of a run, by the very object that served it: it may know which kinds need no look."""
    kinds = None
    if isinstance(provider, Settles):
        with contextlib.suppress(Exception):  # whatever a plugin raised: then each kind is looked for
            kinds = provider.settle(run)
    return sweep(provider, run, within_s=within_s, kinds=kinds)


def spared(found: Sequence[Resource], now: dt.datetime, grace_s: float) -> dict[tuple[str, str], str]:
    """What the reaper leaves alone, by kind and id, and why."""
    golden = _golden(found)
    why = {}
    for resource in found:
        reason = _why_spared(resource, now, grace_s) or golden.get(_key(resource), "")
        if reason:
            why[_key(resource)] = reason
    return why


def _why_spared(resource: Resource, now: dt.datetime, grace_s: float) -> str:
    if not labels.is_ours(resource.labels):
        return "it isn't the lab's"
    if not labels.is_disposable(resource.labels):
        return f"it isn't labelled {labels.DISPOSABLE}=true"
    until = labels.expires_at(resource.labels)
    if until is None:
        return f"nothing that can be read says when it expires: {resource.labels.get(labels.EXPIRES, 'no label')}"
    if now < until + dt.timedelta(seconds=grace_s):
        kept = resource.labels.get(labels.KEPT)
        words = f"{'expires' if now < until else 'expired'} at {shown(until, seconds=True)}"
        grace = "" if now < until else f", and has {grace_s / 60:g} min of grace"
        return (f"kept ({kept}): " if kept else "") + words + grace
    return ""


def _golden(found: Sequence[Resource]) -> dict[tuple[str, str], str]:
    """The newest snapshots of each family: what the next run may start from."""
    families: dict[str, list[Resource]] = {}
    for resource in found:
        if resource.kind == SNAPSHOT and labels.DIGEST in resource.labels:
            families.setdefault(resource.labels.get(labels.FAMILY, ""), []).append(resource)
    oldest = dt.datetime.min.replace(tzinfo=dt.UTC)
    newest = {
        family: sorted(snapshots, key=lambda snapshot: (snapshot.created_at or oldest, snapshot.id))[-GOLDEN_KEPT:]
        for family, snapshots in families.items()
    }
    return {
        _key(snapshot): f"one of the last {GOLDEN_KEPT} golden snapshots" + (f" of {family}" if family else "")
        for family, snapshots in newest.items()
        for snapshot in snapshots
    }


def _of_others(found: Sequence[Resource], runs: Sequence[str]) -> dict[tuple[str, str], str]:
    """What doesn't end with these runs."""
    return {_key(one): "not this run's" for one in found if not _ends_with(one, runs)}


def _ends_with(resource: Resource, runs: Sequence[str]) -> bool:
    own = labels.is_disposable(resource.labels) and resource.labels.get(labels.RUN) in runs
    golden = resource.kind == SNAPSHOT and labels.DIGEST in resource.labels
    return own and not labels.is_kept(resource.labels) and not golden


def _remove(
    name: str,
    provider: Reapable,
    judge: Judge,
    *,
    dry_run: bool = False,
    within_s: float = WITHIN_S,
    insist: bool = False,
    kinds: Collection[str] | None = None,
) -> Reaped:
    """Remove all but what the judge spares, until two lists in a row show nothing more of it.

    What can't be removed is tried a few times, or with `insist` until the time is up; then even what was not there at
    first is looked for twice, since a list may come late.
    """
    deadline = time.monotonic() + within_s
    pause = PAUSE_S / 20
    asked: dict[tuple[str, str], Resource] = {}
    reasons: dict[tuple[str, str], str] = {}
    empty = rounds = 0
    while True:
        found, errors = _list(name, provider, kinds)
        spare = judge(found)
        kept = tuple(
            Kept(resource=resource, why=spare[_key(resource)]) for resource in found if _key(resource) in spare
        )
        doomed = [resource for resource in found if _key(resource) not in spare]
        if dry_run:
            return Reaped(deleted=tuple(doomed), kept=kept, errors=tuple(errors))
        empty = 0 if doomed or errors else empty + 1
        if empty == 2 or (empty and not asked and not insist):
            return Reaped(deleted=tuple(asked.values()), kept=kept)
        if doomed:
            went = _in_order(name, provider, doomed, deadline, reasons)
            asked |= {_key(resource): resource for resource in went}
            errors += [reasons[_key(resource)] for resource in doomed if resource not in went]
        rounds += 1
        if (rounds >= ROUNDS and not empty and not insist) or time.monotonic() + pause > deadline:
            left, more = _list(name, provider, kinds)
            return _unfinished(name, asked, left, judge(left), [*errors, *more], kept)
        time.sleep(pause)
        pause = min(2 * pause, PAUSE_S)


def _unfinished(
    name: str,
    asked: Mapping[tuple[str, str], Resource],
    left: Sequence[Resource],
    spare: Mapping[tuple[str, str], str],
    errors: Sequence[str],
    kept: tuple[Kept, ...],
) -> Reaped:
    """Where something could not be listed or removed: what was removed and is listed on is an error too."""
    there = {_key(resource) for resource in left if _key(resource) not in spare}
    lies = [f"{name}: {one.kind} {one.name} is still listed" for key, one in asked.items() if key in there]
    return Reaped(
        deleted=tuple(resource for key, resource in asked.items() if key not in there),
        kept=kept,
        errors=(*dict.fromkeys(errors), *lies),
    )


def _list(name: str, provider: Reapable, kinds: Collection[str] | None = None) -> tuple[list[Resource], list[str]]:
    """All that there is, as far as it can be listed."""
    found: list[Resource] = []
    try:
        found.extend(resource for resource in provider.resources(kinds) if labels.is_ours(resource.labels))
    except Exception as error:  # noqa: BLE001 - a provider is a plugin: what it raises must not stop the others
        return found, [f"{name}: it can't be listed: {blame('the provider', error, provider)}"]
    return found, []


def _in_order(
    name: str,
    provider: Reapable,
    doomed: Iterable[Resource],
    deadline: float,
    reasons: dict[tuple[str, str], str],
) -> list[Resource]:
    """What the provider says is gone; why the rest is not goes into `reasons`, where what was said of it before stays
    when there was no time to try again.
    """
    went: list[Resource] = []
    ranks: dict[int, list[Resource]] = {}
    for resource in doomed:
        ranks.setdefault(_ORDER.get(resource.kind, 2), []).append(resource)
    for _, resources in sorted(ranks.items()):
        if time.monotonic() > deadline:
            for r in resources:
                reasons.setdefault(_key(r), f"{name}: {r.kind} {r.name} was left for the next time: the time was up")
            continue
        with ThreadPoolExecutor(min(AT_ONCE, len(resources)), thread_name_prefix="testlab-reaper") as threads:
            said = list(threads.map(lambda resource: _try(name, provider, resource), resources))
        went += [resource for resource, error in zip(resources, said, strict=True) if not error]
        reasons |= {_key(resource): error for resource, error in zip(resources, said, strict=True) if error}
    return went


def _try(name: str, provider: Reapable, resource: Resource) -> str:
    try:
        provider.remove(resource)
    except Exception as error:  # noqa: BLE001 - as above
        return f"{name}: {resource.kind} {resource.name} can't be removed: {blame('the provider', error, provider)}"
    return ""


def renew(provider: Provider, run: str, expires_at: dt.datetime) -> list[str]:
    """Put off the expiry of all that a run has, but of what is kept beyond it; returns what went wrong.

    What is found by its label is renewed, also where a create's answer was lost.
    """
    if not isinstance(provider, Reapable):
        return []
    found, errors = _list(provider.name, provider)
    own = [resource for resource in found if _ends_with(resource, [run])]
    for resource in own:
        try:
            provider.write_labels(resource, {labels.EXPIRES: labels.moment(expires_at)})
        except Exception as error:  # noqa: BLE001 - one that is gone must not keep the others from being renewed
            why = blame("the provider", error, provider)
            errors.append(f"{provider.name}: the expiry of {resource.kind} {resource.name} can't be put off: {why}")
    return errors


def _key(resource: Resource) -> tuple[str, str]:
    return resource.kind, resource.id


def masked(reaped: Reaped, mask: Callable[[str], str]) -> Reaped:
    """With secrets taken out of what providers said."""
    return replace(reaped, errors=tuple(map(mask, reaped.errors)))
