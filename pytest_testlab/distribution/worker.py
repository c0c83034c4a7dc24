"""The loop of an xdist worker: it takes one unit at a time, and holds nothing back while it runs."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest

from pytest_testlab.catalog.lab import Lab
from pytest_testlab.catalog.nodes import LAB, describe, digest, missing_secrets
from pytest_testlab.distribution import private
from pytest_testlab.distribution.wire import server_from_wire
from pytest_testlab.errors import InfraError

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

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
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
        private.send(self._worker, "digest", digest=digest(session.config))
        private.receive(self._worker, self._put)
        while (command := self._commands.get()) is not None and command[0] != "shutdown":
            self._tools[command[0]](**command[1])
            if session.shouldfail or session.shouldstop:
                break
        private.tear_down(session)
        self._lab.close()
        return True

    def _put(self, command: Command | None) -> None:
        self._stopping = self._stopping or command is None or command[0] == "shutdown"
        self._commands.put(command)

    def _use(self, server: dict[str, Any]) -> None:
        start = time.monotonic()
        try:
            versions = self._lab.use(server_from_wire(server))
        except InfraError as error:
            private.send(self._worker, "unusable", epoch=server["epoch"], say=str(error))
        else:
            seconds = time.monotonic() - start
            private.send(self._worker, "usable", epoch=server["epoch"], versions=dict(versions), seconds=seconds)

    def _describe(self) -> None:
        items = self._session.items
        missing = missing_secrets(items, self._lab.secrets)
        private.send(self._worker, "described", tests=json.dumps(describe(items)), missing=missing)

    def _run(self, indices: Sequence[int], attempts: dict[str, int]) -> None:
        items = self._session.items
        self._lab.attempts.update(attempts)
        for index, following in zip(indices, [*indices[1:], None], strict=True):
            if self._stopping or self._session.shouldfail or self._session.shouldstop:
                break
            nextitem = self._sentinel if following is None else items[following]
            private.run_one(self._worker, index, items[index], nextitem, time.perf_counter)
            if self._lab.full:
                private.send(self._worker, "unrecordable", say=self._lab.full)
                self._session.shouldstop = self._lab.full
                return
        private.send(self._worker, "idle")
