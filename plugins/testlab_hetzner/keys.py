"""The key of a run: what logs in to its servers. It is known to the API besides, which otherwise mails root's password.

It is made once a run and carries the lab's labels, so that a reaper finds it when its run could not remove it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_testlab.errors import InfraError
from testlab_hetzner.cloud import Cloud, Refused
from testlab_hetzner.firstboot import KeyPair, new_key


@dataclass(frozen=True, kw_only=True)
class RunKey:
    """A key and its number at the API."""

    pair: KeyPair
    id: int


class Keys:
    """The keys that this process had made."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._lock = threading.Lock()
        self._pairs: dict[str, KeyPair] = {}
        self._made: dict[str, RunKey] = {}
        self._failed_at, self._failure = 0.0, ""

    def of(self, run: str, labels: Mapping[str, str]) -> RunKey:
        """The key of a run, made for whoever asks first, with their labels; raises `InfraError`."""
        came = time.monotonic()
        with self._lock:  # the other slots need it as well, so that they may wait
            if run not in self._made:
                if came < self._failed_at:  # while this one waited: it would only fail once more, after as long
                    raise InfraError(self._failure)
                self._made[run] = self._new(run, labels)
            return self._made[run]

    def end(self, run: str) -> None:
        """Remove the key of a run; raises `InfraError`. None was made, or gone already = done."""
        with self._lock:
            key = self._made.get(run)
            if key is not None:
                remove(self._cloud, key.id)
                del self._made[run], self._pairs[run]

    def left(self, run: str) -> bool:
        """Whether a key was asked for that isn't known to be gone."""
        return run in self._pairs

    def close(self) -> None:
        """Remove them; raises `InfraError`. May be called twice."""
        for run in list(self._made):
            self.end(run)

    def _new(self, run: str, labels: Mapping[str, str]) -> RunKey:
        pair = self._pairs.setdefault(run, new_key())  # the same when it is tried again: it may be there
        try:
            return RunKey(pair=pair, id=self._make(f"testlab-{run}-{pair.digest[:8]}", pair, labels))
        except InfraError as error:
            self._failed_at, self._failure = time.monotonic(), str(error)
            raise

    def _make(self, name: str, pair: KeyPair, labels: Mapping[str, str]) -> int:
        what = f"making the SSH key {name}"
        try:
            made = self._cloud.ask(
                what, lambda client: client.ssh_keys.create(name=name, public_key=pair.public, labels=dict(labels))
            )
        except Refused as refused:
            if refused.code != "uniqueness_error":
                raise
            # Only an answer that was lost: nobody else has this key.
            found = self._cloud.ask(what, lambda client: client.ssh_keys.get_by_name(name))
            if found is None:
                raise
            made = found
        assert made.id is not None
        return made.id


def remove(cloud: Cloud, id: int) -> None:  # noqa: A002 - the API's word
    """Remove a key from the API; gone already = done."""
    from hcloud.ssh_keys import SSHKey

    try:
        cloud.ask(f"removing the SSH key {id}", lambda client: client.ssh_keys.delete(SSHKey(id=id)), urgent=True)
    except Refused as refused:
        if refused.code != "not_found":
            raise
