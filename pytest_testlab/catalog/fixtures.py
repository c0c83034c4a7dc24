"""The fixtures that make a test function a test of the catalog."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_testlab.catalog.bench import App, Bench, BenchTarget, Http
from pytest_testlab.errors import UsageError

IMAGE = "testlab_image"
"""What tests are parametrized with that run on several images."""


def is_ours(item: pytest.Function, name: str) -> bool:
    """Whether a function gets the lab's own fixture by that name, be it through one of its author's that extends it."""
    for fixture in reversed(item._fixtureinfo.name2fixturedefs.get(name) or ()):
        if fixture.func.__module__ == __name__:
            return True
        if name not in fixture.argnames:
            return False
    return False


def asked_for(item: pytest.Function) -> bool:
    """Whether a function asks for one of the lab's fixtures, itself or through others."""
    return any(is_ours(item, name) for name in ("target", "apps", "app", "http"))


def _bench(request: pytest.FixtureRequest) -> Bench:
    bench = getattr(request.node, "bench", None)
    if not isinstance(bench, Bench):
        raise UsageError(
            f"the fixture {request.fixturename} is for test functions that name it among their arguments, or that of a "
            "fixture which does"
        )
    return bench


@pytest.fixture
def testlab_image(request: pytest.FixtureRequest) -> str:
    """What the test's target is made from; empty where nobody named an image."""
    return str(getattr(request, "param", None) or request.node.place.image)


@pytest.fixture
def target(request: pytest.FixtureRequest) -> BenchTarget:
    """The target of this worker, to run commands on."""
    return _bench(request).target


@pytest.fixture
def apps(request: pytest.FixtureRequest) -> Callable[..., list[App]]:
    """Deploys entries side by side: `calendar, notes = apps("radicale", "notes")`."""
    bench = _bench(request)

    def deploy(*named: str) -> list[App]:
        return [bench.deploy(name) for name in named]

    return deploy


@pytest.fixture
def app(request: pytest.FixtureRequest) -> App:
    """The entry that the test's mark or its parameter names, deployed and answering."""
    return _bench(request).deploy(getattr(request, "param", None) or request.node.about.app)


@pytest.fixture
def http(app: App) -> Http:
    """A client through the front door of `app`."""
    return app.http
