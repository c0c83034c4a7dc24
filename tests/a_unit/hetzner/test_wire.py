"""hcloud still has the private names that the lab uses of it, and nothing of it is imported before it is used."""

from __future__ import annotations

import subprocess
import sys

import hcloud
import requests
from testlab_hetzner.times import Times
from testlab_hetzner.wire import client


def test_hcloud_has_what_the_lab_sets() -> None:
    """The number of its own retries, and its session: both would be set in vain if they were called otherwise."""
    made = hcloud.Client(token="x" * 8)
    assert made._client._retry_max_retries == 5
    assert isinstance(made._client._session, requests.Session)
    assert client("http://127.0.0.1:9/v1", "x" * 8, Times(), print)._client._timeout == (5.0, 30.0)


def test_the_plugin_is_light_to_import() -> None:
    """Every session of pytest loads it."""
    loaded = "import testlab_hetzner, sys; print([m for m in ('hcloud', 'requests', 'asyncssh') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "[]\n"
