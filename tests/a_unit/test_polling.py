"""Waiting for an app: as long as it may come up, and no longer."""

from __future__ import annotations

import time
from typing import NoReturn

import pytest

from pytest_testlab.catalog import polling
from pytest_testlab.errors import NoAnswer, NotReady
from pytest_testlab.model import Ready
from pytest_testlab.target.observe import Observations

READY = Ready(http="/", within_s=60.0)


class Silent:
    """A front door behind which nothing answers."""

    host = "shop.testlab.internal"

    def request(self, *_words: object, **_more: object) -> NoReturn:
        raise NoAnswer("refused", "nobody listens")


def test_an_app_that_was_given_up_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait ends at the first look after that, and says how the app ended."""
    monkeypatch.setattr(polling, "LOOK_EVERY_S", 0.1)
    looks = iter([None, None, "exit code 3, started 5 times"])
    began = time.monotonic()
    with pytest.raises(NotReady) as caught:
        polling.wait_ready(Silent(), READY, Observations(), deadline=began + 600, given_up=lambda: next(looks))
    assert time.monotonic() - began < 30
    assert "the app ended and is started no more (exit code 3, started 5 times); no answer (refused), for" in str(
        caught.value
    )
    assert list(looks) == []
