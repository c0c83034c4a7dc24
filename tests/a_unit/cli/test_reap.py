"""`testlab reap` from the command line; what it removes is tested where there is something to remove."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cloud import Cloud

from pytest_testlab.cli import main
from pytest_testlab.cli._common import taken_environ
from pytest_testlab.cli.reap import as_json, lines
from pytest_testlab.options import Settings
from pytest_testlab.pool.reaper import Kept, Reaped
from pytest_testlab.pool.reaping import forget_keys


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TESTLAB_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.delenv("TESTLAB_INVENTORY", raising=False)


def test_it_needs_no_store(capsys: pytest.CaptureFixture[str]) -> None:
    """It asks providers only, and says which have nothing to reap."""
    assert main(["reap", "--provider", "memory", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [told[key] for key in ("deleted", "kept", "errors")] == [[], [], []]
    assert [skipped["provider"] for skipped in told["skipped"]] == ["memory"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--provider", "memroy"], "no provider is called 'memroy'; did you mean memory?"),
        (["--provider", "ssh"], "the provider ssh can't be asked: the provider ssh needs an inventory"),
        (["--grace", "soon"], "argument --grace: 'soon' is not a duration; allowed: a number above 0 with s, m or h"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2; a provider that was named must be there."""
    assert main(["reap", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_what_a_cloud_says_is_harmless() -> None:
    """Names and reasons are others' words: a terminal obeys none of them."""
    cloud = Cloud()
    server, key = cloud.put("se\x1b[31mrver"), cloud.put("key", kind="ssh-key")
    reaped = Reaped(
        deleted=(server,),
        kept=(Kept(resource=key, why="it isn't labelled disposable=true"),),
        errors=("cloud: \x1b]0;title\x07",),
        skipped={"ssh": "no inventory"},
    )
    told = "\n".join(lines(reaped))
    assert "\x1b" not in told
    assert "kept      cloud ssh-key key: it isn't labelled disposable=true" in told
    assert as_json(reaped)["kept"] == [
        {
            "name": "key",
            "why": "it isn't labelled disposable=true",
            "kind": "ssh-key",
            "provider": "cloud",
            "id": "key",
        }
    ]


def test_the_key_goes_with_the_server(tmp_path: Path) -> None:
    """Of what was reaped no way in stays on this machine; of what wasn't it does."""
    cloud, home = Cloud(), tmp_path / "home"
    for name in ("gone", "there"):
        (home / "kept" / name).mkdir(parents=True)
    forget_keys(Settings(home=str(home)), Reaped(deleted=(cloud.put("gone"), cloud.put("there", kind="ssh-key"))))
    assert [path.name for path in (home / "kept").iterdir()] == ["there"]


def test_no_child_of_the_reaper_has_what_lets_it_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries ask compilers and linkers for others: those are anybody's programs."""
    monkeypatch.setenv("HCLOUD_TOKEN", "sesame-opens-the-cave")
    assert taken_environ()["HCLOUD_TOKEN"] == "sesame-opens-the-cave"
    assert "HCLOUD_TOKEN" not in os.environ
