"""Who started a session, as it says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_testlab.errors import UsageError
from pytest_testlab.options import Settings
from pytest_testlab.session.provenance import actor, provenances, started_as

NIGHTLY = Settings(mode="nightly")


def test_a_session_by_hand_names_its_user() -> None:
    """Without a word of the lab's own starters it is a command line's, whatever its mode."""
    assert started_as({}, NIGHTLY) == (f"cli:{actor()}", None)


def test_the_starters_word_is_taken_out_of_the_environment() -> None:
    """So that nothing which this session starts can say the same of itself."""
    environ = {"TESTLAB_TRIGGER": "scheduled-nightly", "TESTLAB_RUN": "20261121-0230-k3f9", "PATH": "/bin"}
    assert started_as(environ, NIGHTLY) == ("scheduled-nightly", "20261121-0230-k3f9")
    assert environ == {"PATH": "/bin"}
    assert started_as({"TESTLAB_TRIGGER": "manual"}, NIGHTLY) == (f"manual:{actor()}", None)


@pytest.mark.parametrize(
    ("environ", "settings"),
    [
        ({"TESTLAB_TRIGGER": "web:mallory"}, NIGHTLY),
        ({"TESTLAB_TRIGGER": "scheduled-nightly"}, Settings()),
        ({"TESTLAB_TRIGGER": "manual", "TESTLAB_RUN": "../../etc"}, NIGHTLY),
        ({"TESTLAB_RUN": "20261121-0230-k3f9"}, NIGHTLY),
    ],
)
def test_nonsense_is_refused(environ: dict[str, str], settings: Settings) -> None:
    """Another word, another mode, or a run's name that the lab would not give."""
    with pytest.raises(UsageError, match="TESTLAB_"):
        started_as(environ, settings)


@pytest.mark.parametrize(
    ("image", "default", "lane"), [("", "debian-12", "debian-12"), ("x", "debian-12", "x"), ("", "", "-")]
)
def test_a_lane_names_the_image_that_is_used(tmp_path: Path, image: str, default: str, lane: str) -> None:
    """Also where none was asked for, if the provider says which one it takes."""
    (one,) = provenances(
        Settings(image=image), root=tmp_path, provider="cloud", platform="memory", default_image=default
    )
    assert one.lane.split("/")[2:] == ["memory", "cloud", lane]
