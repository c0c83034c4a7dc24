"""By which names a server may be called, and what it calls itself."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from testlab_server.config import ServerConfig, checked_url, trusted_hosts

from pytest_testlab.errors import UsageError


def config(**more: object) -> ServerConfig:
    return ServerConfig(home=Path("/nowhere"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ({}, "http://127.0.0.1:8410"),
        ({"host": "0.0.0.0", "port": 9000}, "http://127.0.0.1:9000"),
        ({"host": "::1"}, "http://[::1]:8410"),
        ({"url": "https://lab.example.org/"}, "https://lab.example.org"),
    ],
)
def test_origin(given: dict[str, object], origin: str) -> None:
    """The address that links begin with is one that a browser on this machine can open."""
    assert config(**given).origin == origin


def test_secure_only_by_https() -> None:
    """A cookie kept to https would never come back over http."""
    assert config(url="https://lab.example.org").secure
    assert not config().secure


def test_loopback_trusts_its_three_names_only() -> None:
    """A foreign name that points here is a foreign name."""
    assert trusted_hosts(config()) == {"127.0.0.1", "localhost", "::1"}


def test_the_public_name_is_trusted() -> None:
    """Behind a proxy, the name that users type."""
    assert "lab.example.org" in trusted_hosts(config(url="https://Lab.example.org"))


def test_every_address_means_the_machines_own() -> None:
    """Bound to all interfaces, the machine's names are trusted, and no wildcard is."""
    names = trusted_hosts(config(host="0.0.0.0"))
    assert {"127.0.0.1", "localhost", socket.gethostname().lower()} <= names
    assert "0.0.0.0" not in names


@pytest.mark.parametrize("text", ["lab.example.org", "ftp://lab", "https://", "https://lab/path", "https://lab/?q"])
def test_a_public_address_is_checked(text: str) -> None:
    """A mistyped --url is refused in one line."""
    with pytest.raises(UsageError, match="--url"):
        checked_url(text)
