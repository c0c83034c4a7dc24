"""When a server counts as blank."""

from __future__ import annotations

import pytest
from testlab_hetzner import proof

from pytest_testlab.errors import NotBlankError

NOW = "11111111-2222-3333-4444-555555555555"
THEN = "99999999-2222-3333-4444-555555555555"
SEEN = {"boot": [NOW], "machine": ["new"], "system": ["debian-12"], "root": ["/var/lib/testlab"]}
BEFORE = {"boot": THEN, "machine": "old"}


def test_what_was_seen_is_the_proof() -> None:
    """Boot, machine, image, and nothing of the lab's on its disk."""
    found = proof.judge("s", "debian-12", SEEN, BEFORE, None)
    assert found["boot"] == NOW
    assert found["machine"] == "new"
    assert found["image"] == found["system"] == "debian-12"
    assert (found["marker"], found["folder"]) == ("gone", "nothing in /var/lib/testlab")


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (
            {"marker": ["/root/.testlab-used"]},
            "s is not blank: it still holds the marker that the lab left on it before",
        ),
        ({"left": ["apps", "nginx"]}, "s is not blank: below /var/lib/testlab it holds apps, nginx"),
        ({"boot": [THEN]}, f"s is not blank: its boot id is the one that it had before, {THEN}"),
        ({"machine": ["old"]}, "s is not blank: its machine id is the one that it had before, old"),
        ({"system": ["debian-13"]}, "s is not what was asked for: it runs debian-13, not debian-12"),
    ],
)
def test_anything_left_of_before_is_refused(seen: dict[str, list[str]], why: str) -> None:
    """Each by itself, and it says which."""
    with pytest.raises(NotBlankError) as raised:
        proof.judge("s", "debian-12", {**SEEN, **seen}, BEFORE, None)
    assert str(raised.value) == why


def test_a_snapshot_brings_its_own_folder_and_system() -> None:
    """A golden one holds the platform; the marker must be gone all the same."""
    found = proof.judge("s", "debian-12", {**SEEN, "left": ["nginx"], "system": ["debian-12"]}, {}, "77")
    assert (found["image"], found["folder"]) == ("snapshot 77", "as in snapshot 77")
    with pytest.raises(NotBlankError):
        proof.judge("s", "debian-12", {**SEEN, "marker": ["/root/.testlab-used"]}, {}, "77")
