"""The reaper that a server has beside it, over real targets of this machine."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator

import pytest
from testlab_local.provider import LocalProvider
from testlab_server.reaping import Reaping

from pytest_testlab import labels
from pytest_testlab.model import Server, ServerRequest
from pytest_testlab.options import Settings

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def provider(settings: Settings) -> Iterator[LocalProvider]:
    """A provider that lets go of all it made, also of what was reaped by another."""
    provider = LocalProvider(settings)
    yield provider
    for run in ("old", "older", "young"):
        provider.destroy(Server(name=f"{run}-0", provider="local"))


def made(provider: LocalProvider, run: str, expires_in: dt.timedelta) -> str:
    own = labels.labels_of(run=run, slot=0, expires_at=dt.datetime.now(dt.UTC) + expires_in)
    return provider.create(ServerRequest(run=run, slot=0, labels=own)).name


def test_a_server_reaps_again_and_again(settings: Settings, provider: LocalProvider, soon: Callable[..., None]) -> None:
    """What has expired goes, whoever made it and without the store, and that is said; what hasn't stays."""
    said: list[str] = []
    reaping = Reaping(settings, said.append, every_s=0.05)
    old, young = made(provider, "old", -HOUR), made(provider, "young", HOUR)
    stop = threading.Event()
    thread = threading.Thread(target=reaping.run, args=(stop,))
    thread.start()
    try:
        soon(lambda: reaping.at is not None, 60.0)
        assert {server.name for server in provider.owned()} == {young}
        older = made(provider, "older", HOUR)
        [resource] = [one for one in provider.resources() if one.name == older]
        provider.write_labels(resource, {labels.EXPIRES: "1"})
        soon(lambda: {server.name for server in provider.owned()} == {young}, 60.0)
        soon(lambda: len(said) >= 2, 60.0)
    finally:
        stop.set()
        thread.join(60)
    assert said == [f"the reaper removed the server {name} of local: it had expired" for name in (old, older)]
    assert reaping.last is not None
    assert [kept.resource.name for kept in reaping.last.kept] == [young]
