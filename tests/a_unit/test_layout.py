"""Where the platform `procfile` listens on a server."""

from __future__ import annotations

import pytest

from pytest_testlab.model import Server, SshAddress
from pytest_testlab.platform.layout import Layout


@pytest.mark.parametrize(
    ("host", "bind", "front"),
    [
        ("127.0.0.1", "127.0.0.1:20000", "127.0.0.1:20000"),
        ("127.66.3.9", "127.66.3.9:20000", "127.66.3.9:20000"),
        ("localhost", "127.0.0.1:20000", "127.0.0.1:20000"),
        ("::1", "[::1]:20000", "[::1]:20000"),
        ("203.0.113.9", "20000", "127.0.0.1:20000"),
        ("2001:db8::1", "[::]:20000", "[::1]:20000"),
        ("server.example", "20000", "127.0.0.1:20000"),
    ],
)
def test_the_front_door_listens_where_the_lab_comes(host: str, bind: str, front: str) -> None:
    """On the very loopback address by which the lab comes, else on every address of its version."""
    ssh = SshAddress(host=host, port=22, user="root", private_key="", host_key="")
    layout = Layout(server=Server(name="s", provider="p", ssh=ssh), root="/var/lib/testlab")
    assert (layout.bind, layout.front_address) == (bind, front)
