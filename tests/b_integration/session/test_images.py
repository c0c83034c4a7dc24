"""One session on several images: each test runs on all of them, and each image has a run and a lane of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from pages import Lab, logged_in
from sessions import LabSession

from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.reads import runs
from pytest_testlab.store.views import RunView

TWO = ("--testlab-image", "debian-12,debian-13")
DOOR = """
    import pytest
    from pathlib import Path

    @pytest.mark.parametrize("door", ["front", "back"])
    def test_door(target, door, testlab_image):
        assert target.server.image == testlab_image
        assert door == "front" or testlab_image not in Path("broken").read_text()

    def test_of_no_image():
        pass
"""
FRONT = "test_doors.py::test_door[front]"
BACK = "test_doors.py::test_door[back]"


@pytest.fixture
def doors(lab: LabSession) -> LabSession:
    """An entry that is well on each image, and a test that is not where the file `broken` says so."""
    lab.entry("alpha")
    lab.module("test_doors.py", DOOR)
    broken(lab, "debian-13")
    return lab


def broken(lab: LabSession, *images: str) -> None:
    (lab.pytester.path / "broken").write_text(" ".join(images))


def session(store: StoreHandle) -> list[RunView]:
    """The runs of the latest session, in the order of their images."""
    with store.engine.connect() as connection:
        latest = runs.get_run(connection, "latest")
        assert latest is not None
        return runs.beside(connection, latest)


def statuses(store: StoreHandle, run: str) -> Mapping[str, str]:
    with store.engine.connect() as connection:
        return {result.test: result.status for result in runs.results(connection, run)}


def told(lab: LabSession, *arguments: str) -> Any:
    done = lab.testlab(*arguments, "--json")
    assert done.ret == 0
    return json.loads(done.stdout.str())


@pytest.mark.parametrize("pool", [1, 2])
def test_each_image_has_a_lane(doors: LabSession, store: StoreHandle, pool: int) -> None:
    """The same rows in both; what is broken on one image is told of that one; pytest's own names say which."""
    done = doors.run(*TWO, "-v", "--junitxml", "j.xml", pool=pool)
    assert done.ret == 1
    twelve, thirteen = session(store)
    assert (twelve.session, thirteen.session, thirteen.run) == (twelve.run, twelve.run, f"{twelve.run}-2")
    assert [run.lane for run in (twelve, thirteen)] == [f"cli/-/memory/memory/debian-{n}" for n in (12, 13)]
    assert [dict(run.counts) for run in (twelve, thirteen)] == [{"passed": 4}, {"passed": 3, "failed": 1}]
    rows = statuses(store, twelve.run)
    assert rows == statuses(store, thirteen.run) | {BACK: "passed"}
    assert sorted(rows) == [f"alpha/testlab.toml::{stage}" for stage in ("check", "install")] + [BACK, FRONT]
    done.stdout.fnmatch_lines(
        ["*✗ doors · test_door?back??debian-13?*", "*run *-2 · cli/-/memory/memory/debian-13 · *"]
    )
    cases = re.findall(r'<testcase [^>]*name="([^"]+)"', (doors.pytester.path / "j.xml").read_text())
    assert len(cases) == 9
    assert {"install[debian-12]", "install[debian-13]", "test_door[back-debian-13]", "test_of_no_image"} <= set(cases)


def test_the_next_night_is_held_against_the_same_image(doors: LabSession, store: StoreHandle) -> None:
    """Diffs, causes and pages keep to the lane; each session has its install on each image."""
    night = (*TWO, "--testlab-mode", "nightly")
    assert doors.run(*night, pool=2).ret == 1
    broken(doors, "debian-12")
    assert doors.run(*night, pool=3).ret == 1
    twelve, thirteen = session(store)
    shown = told(doors, "diff")
    assert (shown["run"], [item["test"] for item in shown["newly_failing"]]) == (twelve.run, [BACK])
    assert [(also["run"], [item["test"] for item in also["newly_fixed"]]) for also in shown["also"]] == [
        (thirteen.run, [BACK])
    ]
    assert told(doors, "why", "test_door[back]")["run"] == twelve.run
    assert statuses(store, thirteen.run)["platform::install"] == "passed"
    assert sorted(run["image"] for run in told(doors, "runs")) == ["debian-12"] * 2 + ["debian-13"] * 2
    client = logged_in(Lab(store))
    for path in ("/", f"/runs/{thirteen.run}", f"/runs/{thirteen.run}/tests/{BACK}"):
        page = client.get(path, headers={"Host": "127.0.0.1:8410"}).get_data(as_text=True)
        links = page.partition('<nav class="lanes images"')[2].partition("</nav>")[0]
        told_of = re.findall(r'aria-label="(debian-1[23]): (?:\d )?(\w+)', links)
        assert told_of == [("debian-12", "failed"), ("debian-13", "passed")], path


def test_one_image_alone_keeps_its_names(lab: LabSession, store: StoreHandle) -> None:
    """With one image, or by -k, tests are called as ever; an image without any test has a run that says so."""
    lab.entry("alpha")
    assert lab.run("--testlab-image", "debian-12", "-k", "install").ret == 0
    (alone,) = session(store)
    assert (alone.session, alone.planned) == (None, 1)
    assert lab.run(*TWO, "-k", "debian-13 and install").ret == 0
    assert [run.planned for run in session(store)] == [0, 1]
    assert lab.run(*TWO, "alpha/testlab.toml::check[debian-12]").ret == 0
    assert [run.planned for run in session(store)] == [1, 0]


@pytest.mark.parametrize(
    ("provider", "why"),
    [("local", "the provider local runs on this very machine"), ("ssh", "the provider ssh takes servers as they are")],
)
def test_providers_without_images_refuse(lab: LabSession, provider: str, why: str) -> None:
    """In one line, before anything is made."""
    lab.entry("alpha")
    done = lab.run("--testlab-image", "debian-12", provider=provider)
    assert done.ret == 4
    done.stderr.fnmatch_lines([f"ERROR: --testlab-image: debian-12: {why}*"])
