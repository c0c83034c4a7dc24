"""What the settings and the environment say, and how it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from testlab_hetzner import TOKEN, wishes
from testlab_hetzner.provider import HetznerProvider

from pytest_testlab.errors import UsageError
from pytest_testlab.options import Settings

NEEDLE = "a-token-that-must-not-show"


def test_a_token_is_looked_for_in_two_places(tmp_path: Path) -> None:
    """The environment's, as it was taken out of it, goes first."""
    (tmp_path / "hcloud-token").write_text("of-the-file\n")
    settings = Settings(secrets_dir=str(tmp_path))
    assert wishes.token(settings) == "of-the-file"
    assert wishes.token(Settings(secrets_dir=str(tmp_path), credentials={TOKEN: NEEDLE})) == NEEDLE


def test_without_a_token_it_says_what_to_do(tmp_path: Path) -> None:
    """In one line, before anything begins; a worker needs none."""
    with pytest.raises(UsageError) as raised:
        HetznerProvider(Settings(secrets_dir=str(tmp_path)))
    assert str(raised.value) == (
        "the provider hetzner needs a token: make one with read and write, in a project of the lab's own, "
        "and set HCLOUD_TOKEN, or put it into the file hcloud-token in the folder testlab_secrets_dir"
    )
    HetznerProvider(Settings(steers=False)).close()


@pytest.mark.parametrize("value", [f"{NEEDLE}\nX", f" {NEEDLE}", "short"])
def test_what_cannot_be_a_token_is_refused_and_not_shown(value: str) -> None:
    """The HTTP library would tell it in its complaint."""
    with pytest.raises(UsageError) as raised:
        wishes.token(Settings(credentials={TOKEN: value}))
    assert NEEDLE not in str(raised.value)
    assert value not in str(raised.value)


def test_a_token_is_never_sent_in_clear() -> None:
    """But to this machine itself."""
    assert wishes.wishes(Settings(), {"HCLOUD_ENDPOINT": "http://127.0.0.1:8080/v1/"}).endpoint.endswith(":8080/v1")
    with pytest.raises(UsageError, match="would send the token in clear"):
        wishes.wishes(Settings(), {"HCLOUD_ENDPOINT": "http://api.example.org/v1"})
    with pytest.raises(UsageError, match="expected an address such as"):
        wishes.wishes(Settings(), {"HCLOUD_ENDPOINT": "api.example.org"})


def test_types_and_locations_are_lists() -> None:
    wish = wishes.wishes(Settings(server_type="cx33, cpx21", location="hel1"), {})
    assert (wish.types, wish.locations, wish.ssh_port) == (("cx33", "cpx21"), ("hel1",), 22)
    with pytest.raises(UsageError, match=r"^--testlab-location: 'Falkenstein 1' can't be one"):
        wishes.wishes(Settings(location="Falkenstein 1"), {})
    with pytest.raises(UsageError, match=r"^TESTLAB_HETZNER_SSH_PORT is 'ssh'; expected a port"):
        wishes.wishes(Settings(), {"TESTLAB_HETZNER_SSH_PORT": "ssh"})
