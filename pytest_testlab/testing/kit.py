"""What the conformance suites share: calls that can't hang them, and waiting for a condition."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import pytest

from pytest_testlab.model import CommandResult, Resource, Server, ServerRequest
from pytest_testlab.protocols import Provider, Reapable, Target

T = TypeVar("T")


def within(seconds: float, what: str, call: Callable[..., T], *arguments: Any) -> T:
    """Make a call, and fail the test if it hasn't returned in time; it goes on then on a thread of its own."""
    came: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            came.append(call(*arguments))
        except BaseException as error:  # noqa: BLE001 - handed over to the caller's thread
            raised.append(error)

    thread = threading.Thread(target=work, name=f"conformance-{what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not came:
        pytest.fail(f"{what} did not return within {seconds:g} s: every call must be bounded in time")
    return came[0]


class Bounded:
    """A provider each of whose calls must return within `patience_s` seconds."""

    def __init__(self, provider: Provider, patience_s: float) -> None:
        self.inner = provider
        self.name = provider.name
        self.default_platform = provider.default_platform
        self.blank_between_units = provider.blank_between_units
        self._patience_s = patience_s

    def create(self, request: ServerRequest) -> Server:
        """As the provider's own; the others too."""
        return within(self._patience_s, "create()", self.inner.create, request)

    def blank(self, server: Server) -> Server:
        """Bounded."""
        return within(self._patience_s, "blank()", self.inner.blank, server)

    def destroy(self, server: Server) -> None:
        """Bounded."""
        within(self._patience_s, "destroy()", self.inner.destroy, server)

    def owned(self) -> Iterable[Server]:
        """Bounded, and read to its end."""
        return within(self._patience_s, "owned()", lambda: tuple(self.inner.owned()))

    def console(self, server: Server) -> str | None:
        """Bounded."""
        return within(self._patience_s, "console()", self.inner.console, server)

    def connect(self, server: Server) -> Target:
        """Bounded."""
        return within(self._patience_s, "connect()", self.inner.connect, server)

    def resources(self, kinds: Collection[str] | None = None) -> list[Resource]:
        """Bounded, and read to its end; for a provider that is `Reapable`, as the next two are."""
        return within(self._patience_s, "resources()", lambda: list(self._reapable.resources(kinds)))

    def remove(self, resource: Resource) -> None:
        """Bounded."""
        within(self._patience_s, "remove()", self._reapable.remove, resource)

    def write_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
        """Bounded."""
        within(self._patience_s, "write_labels()", self._reapable.write_labels, resource, labels)

    @property
    def _reapable(self) -> Reapable:
        assert isinstance(self.inner, Reapable)
        return self.inner

    def close(self) -> None:
        """What the lab calls at the end of a run, where a provider has it."""
        close = getattr(self.inner, "close", None)
        if close is not None:
            within(self._patience_s, "close()", close)


@contextlib.contextmanager
def line(provider: Bounded, server: Server) -> Iterator[Target]:
    """A line to a server, ended afterwards."""
    target = provider.connect(server)
    try:
        yield target
    finally:
        target.close()


def say(target: Target, script: str, **how: Any) -> str:
    """What a script prints on a target; the test fails unless it exits 0."""
    result = target.run(script, **{"timeout_s": 30.0} | how)
    assert result.exit_code == 0, told(result)
    return result.stdout.decode().strip()


def told(result: CommandResult) -> str:
    """A result as a message shows it."""
    return f"exit code {result.exit_code}, stdout {result.stdout[-500:]!r}, stderr {result.stderr[-500:]!r}"


def until(is_so: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
    """Wait until something is so; the test fails after its time."""
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: not so within {within_s:g} s"
        time.sleep(0.05)


def running(target: Target, word: str) -> list[str]:
    """The processes of a server whose command line holds a word; what looks for it gets it over its input."""
    script = f"grep -laf - /proc/[0-9]*/cmdline 2>/dev/null <<END\n{word}\nEND\ntrue"
    return [path.split("/")[2] for path in say(target, script).split()]
