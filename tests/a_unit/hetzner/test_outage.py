"""An API that is out of reach costs each slot one wait, and not one after the other."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from testlab_hetzner.cloud import Cloud
from testlab_hetzner.keys import Keys
from testlab_hetzner.prices import Prices
from testlab_hetzner.times import Times

from pytest_testlab.errors import InfraError

NOWHERE = "http://127.0.0.1:9/v1"
TIMES = Times(call=2.0, prices=1.0, pause=0.2)


def _raises(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(InfraError) as raised:
        call(*arguments)
    return str(raised.value)


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(NOWHERE, lambda: "a-token-of-nobody", TIMES)


def test_slots_that_wait_for_the_runs_key_fail_together(cloud: Cloud) -> None:
    """With one reason; the next one asks anew."""
    keys, began = Keys(cloud), time.monotonic()
    with ThreadPoolExecutor(16) as threads:
        said = set(threads.map(lambda _: _raises(keys.of, "r", {}), range(16)))
    assert len(said) == 1
    assert "no answer from the API" in said.pop()
    assert time.monotonic() - began < 28  # one after the other would take 32
    assert "no answer from the API" in _raises(keys.of, "r", {})


def test_a_key_whose_making_was_not_answered_is_looked_for_at_the_runs_end(cloud: Cloud) -> None:
    """It may be there; no other run's is."""
    keys = Keys(cloud)
    _raises(keys.of, "r", {})
    keys.end("r")
    assert keys.left("r")
    assert not keys.left("another")


def test_a_price_list_that_cannot_be_had_is_left_alone_for_a_while(cloud: Cloud) -> None:
    """Prices are missed, servers are not held up."""
    prices = Prices(cloud)
    assert "no answer from the API" in _raises(lambda: prices.snapshot(1))
    assert "could not be had a moment ago" in _raises(lambda: prices.snapshot(1))
