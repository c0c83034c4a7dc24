"""hcloud's client as the lab needs it: bounded in time, its own retries off, the headers of its answers heard.

hcloud offers neither of the last two, so this is the one module that uses private names of it;
`tests/a_unit/hetzner/test_wire.py` says when they are gone. Without them the lab goes on: hcloud tries again besides,
and the quota isn't known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import hcloud
import requests

from testlab_hetzner.times import Times

Heard = Callable[[Mapping[str, str]], object]


def client(endpoint: str, token: str, times: Times, heard: Heard) -> hcloud.Client:
    """A client, for one thread at a time. `heard` is called with the headers of every answer."""
    made = hcloud.Client(
        token=token,
        api_endpoint=endpoint,
        application_name="pytest-testlab",
        timeout=(times.connect, times.read),
    )
    base = made._client

    def note(answer: requests.Response, *_: Any, **__: Any) -> None:
        heard(answer.headers)

    base._retry_max_retries = 0
    base._session.hooks["response"].append(note)
    return made
