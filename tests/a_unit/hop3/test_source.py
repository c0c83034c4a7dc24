"""Which Hop3 is asked for, and by what words."""

from __future__ import annotations

from pathlib import Path

import pytest
from testlab_hop3.platform import Hop3Platform
from testlab_hop3.source import Source

from pytest_testlab.errors import UsageError
from pytest_testlab.options import Settings
from pytest_testlab.plugins import plugin_manager
from pytest_testlab.protocols import Foreseeable, Performs, Platform
from pytest_testlab.seams import check_fit


def test_a_release_a_ref_a_tree(tmp_path: Path) -> None:
    """Each is told to Hop3's installer in its own words, and the client is of the same release."""
    (tmp_path / "packages").mkdir()
    release, ref = Source.of({"TESTLAB_HOP3": "0.7.4"}), Source.of({"TESTLAB_HOP3": "git:main"})
    tree = Source.of({"TESTLAB_HOP3": str(tmp_path)})
    assert (release.arguments, release.client) == ("--from pypi --version 0.7.4", "hop3-cli==0.7.4")
    assert (ref.arguments, ref.client) == ("--from git --branch main", "hop3-cli==0.7.5")
    assert tree.arguments == "--from local --path /opt/testlab-hop3/tree"
    assert str(Source.of({})) == "release 0.7.5"


def test_a_changed_tree_is_another_install(tmp_path: Path) -> None:
    """Its digest is of all that is in it but what tools leave there."""
    (tmp_path / "packages").mkdir()
    source = Source.of({"TESTLAB_HOP3": str(tmp_path)})
    before = source.inputs()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text("main")
    assert source.inputs() == before
    (tmp_path / "packages/a.py").write_text("1")
    assert source.inputs() != before


def test_a_way_of_ones_own_is_an_input(tmp_path: Path) -> None:
    """What installs it decides what is installed."""
    script = tmp_path / "install.sh"
    script.write_text("true\n")
    environ = {"TESTLAB_HOP3_INSTALL": str(script)}
    before = Source.of(environ).inputs()
    script.write_text("false\n")
    assert Source.of(environ).inputs() != before


def test_a_ref_is_good_for_a_day() -> None:
    """A branch moves: an install of it is told apart by the day."""
    assert set(Source.of({"TESTLAB_HOP3": "git:main"}).inputs()) == {"hop3", "day"}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"TESTLAB_HOP3": "latest"},
            "TESTLAB_HOP3: 'latest' is neither a release (0.7.5), nor git:REF, nor a path to a checkout",
        ),
        ({"TESTLAB_HOP3": "git:-x"}, "TESTLAB_HOP3: 'git:-x' is neither a release"),
        ({"TESTLAB_HOP3": "/nowhere"}, "TESTLAB_HOP3: /nowhere is no checkout of Hop3: it has no folder packages"),
        ({"TESTLAB_HOP3_INSTALL": "/nowhere"}, "TESTLAB_HOP3_INSTALL: /nowhere is not a file"),
    ],
)
def test_what_is_asked_for_wrongly_is_said_in_a_line(environ: dict[str, str], said: str) -> None:
    """Before anything is made."""
    with pytest.raises(UsageError) as error:
        Source.of(environ)
    assert str(error.value).startswith(said)


def test_the_platform_keeps_to_the_seams(tmp_path: Path) -> None:
    """It is offered by its name, fits the protocol, may be kept in a snapshot, and performs what only it can."""
    offered = {name for found in plugin_manager().hook.testlab_platforms() for name in found}
    assert "hop3" in offered
    platform = Hop3Platform(Settings(home=str(tmp_path)))
    check_fit(platform, Platform, "the platform hop3")
    assert isinstance(platform, Foreseeable)
    assert isinstance(platform, Performs)
