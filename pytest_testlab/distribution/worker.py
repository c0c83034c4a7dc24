"""The loop of an xdist worker: it takes one unit at a time, and holds nothing back while it runs."""

from __future__ import annotations

import json
import queue
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_testlab.catalog.follow import Follow, followed
from pytest_testlab.catalog.install import WITHIN_S
from pytest_testlab.catalog.items import LAB, CatalogItem, describe, digest, given_secrets, missing_secrets
from pytest_testlab.catalog.lab import Lab
from pytest_testlab.distribution import private
from pytest_testlab.distribution.watch import Watch
from pytest_testlab.distribution.watchdog import GRACE_S, Heart, stacks_file
from pytest_testlab.distribution.wire import server_from_wire
from pytest_testlab.errors import InfraError, TestlabError

Command = tuple[str, dict[str, Any]]


class NoWorker:
    """Takes the loop's place where there can be none: says why, and ends."""

    def __init__(self, say: str) -> None:
        self._say = say

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """End before anything is collected."""
        private.send(private.interactor(session.config), "refused", say=self._say)
        raise pytest.UsageError(self._say)


class WorkerLoop:
    """Runs what the controller hands out, on the target that the controller names."""

    def __init__(
        self, lab: Lab, *, folder: Path, name: str, looks_every_s: float | None = None, follow: str | None = None
    ) -> None:
        """`folder` is the run's; `name` is the worker's own.

        `looks_every_s`: how often somebody wants to see what it does. `follow`: the setting.
        """
        self._lab = lab
        self._follow = follow
        self._watch = None if looks_every_s is None else Watch(lab.doing, self._tell_doing, looks_every_s)
        self._heart = Heart(self._beat, stacks_file(folder, name))
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._stopping = False
        self._tools: dict[str, Callable[..., None]] = {
            "testlab_use": self._use,
            "testlab_describe": self._describe,
            "testlab_run": self._run,
        }

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """Pass on what pytest has to say of a path or a test that isn't there: nobody sees a worker's own terminal."""
        try:
            return (yield)
        except pytest.UsageError as error:
            private.send(private.interactor(session.config), "refused", say="\n".join(map(str, error.args)))
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of xdist's own loop, which would always hold one test more than it runs."""
        self._session = session
        self._worker = private.interactor(session.config)
        self._sentinel = private.sentinel(session)
        session.config.stash[LAB] = self._lab
        self._lab.learn(given_secrets(session.items, self._lab.secrets))
        if self._follow is not None:
            follow, _ = followed(self._follow, describe(session.items))
            self._lab.follow = Follow(tests=follow, tell=self._tell_followed)
        private.send(self._worker, "digest", digest=digest(session.config))
        self._lab.tell_secrets = self._tell_secrets
        self._lab.interrupts.hold()
        self._lab.interrupts.heed()
        self._heart.start()
        if self._watch is not None:
            self._watch.start()
        private.receive(self._worker, self._put)
        try:
            while not self._over and (command := self._commands.get()) is not None and command[0] != "shutdown":
                self._tools[command[0]](**command[1])
        except KeyboardInterrupt:
            private.send(self._worker, "interrupted")
        with self._heart.doing("ending", GRACE_S):
            self._tear_down(session)
            self._lab.close()
        if self._watch is not None:
            self._watch.stop()
        self._heart.stop()
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run the catalog's tests before others do: a plugin that reruns failures would do it on a used target."""
        if not isinstance(item, CatalogItem):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        private.run_phases(item, nextitem)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _tear_down(self, session: pytest.Session) -> None:
        """Remove what still stands. Where that fails no test is left to report it, and the target goes anyway."""
        try:
            private.tear_down(session)
        except TestlabError as error:
            private.send(self._worker, "left_behind", say=str(error))

    @property
    def _over(self) -> bool:
        """Whether nothing more is to be run."""
        return bool(
            self._stopping or self._session.shouldfail or self._session.shouldstop or self._lab.interrupts.asked
        )

    def _put(self, command: Command | None) -> None:
        """Take a command, on execnet's thread."""
        self._stopping = self._stopping or command is None or command[0] in ("shutdown", "testlab_stop")
        if command is not None and command[0] == "testlab_stop":
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        self._commands.put(None if self._stopping else command)

    def _use(self, server: dict[str, Any], install: bool, rebooted: bool = False) -> None:
        start = time.monotonic()
        if rebooted:
            self._lab.close()
        try:
            with self._heart.doing(f"getting {server['name']} ready", WITHIN_S):
                versions = self._lab.use(server_from_wire(server), install=install)
        except InfraError as error:
            private.send(self._worker, "unusable", epoch=server["epoch"], say=str(error))
        else:
            seconds = time.monotonic() - start
            private.send(self._worker, "usable", epoch=server["epoch"], versions=dict(versions), seconds=seconds)

    def _beat(self, late: str) -> None:
        private.send(self._worker, "beat", late=late)

    def _tell_followed(self, test: str, section: str, lines: list[str]) -> None:
        private.send(self._worker, "followed", test=test, section=section, lines=lines)

    def _tell_doing(self, doing: dict[str, Any] | None) -> None:
        private.send(self._worker, "doing", doing=doing)

    def _tell_secrets(self, values: frozenset[str]) -> None:
        if values:
            private.send(self._worker, "secrets", values=sorted(values))

    def _describe(self) -> None:
        items = self._session.items
        missing = missing_secrets(items, self._lab.secrets)
        private.send(self._worker, "described", tests=json.dumps(describe(items)), missing=missing)

    def _run(self, indices: Sequence[int], attempts: dict[str, int]) -> None:
        """Run tests one after the other; those after a test that is to be tried elsewhere are handed back.

        So are the units after one that is left standing on the target for somebody to look at.
        """
        items = self._session.items
        self._lab.attempts.update(attempts)
        left = list(indices)
        again = False
        while left and not again and not self._over:
            item = items[left[0]]
            following = items[left[1]] if len(left) > 1 else self._sentinel
            with self._heart.doing(item.nodeid, _allowed_s(item)):
                private.run_one(self._worker, left[0], item, following, time.perf_counter)
            if self._lab.full:
                private.send(self._worker, "unrecordable", say=self._lab.full)
                self._session.shouldstop = self._lab.full
                return
            again = isinstance(item, CatalogItem) and item.result is not None and bool(item.result["again"])
            left = left if again else left[1:]
            if self._lab.left_standing and left and not _same_unit(item, items[left[0]]):
                break
        if again:
            private.tear_down(self._session, self._sentinel)
        private.send(self._worker, "idle", left=left, again=again, spoiled=self._lab.spoiled)


def _same_unit(one: pytest.Item, other: pytest.Item) -> bool:
    return isinstance(one, CatalogItem) and isinstance(other, CatalogItem) and one.unit is other.unit


def _allowed_s(item: pytest.Item) -> float:
    own_s = item.subject.timeout_s if isinstance(item, CatalogItem) else WITHIN_S
    return own_s + GRACE_S
