"""lab.toml: read strictly, found where it is looked for, and turned into a command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_testlab.errors import UsageError
from pytest_testlab.labfile import words
from pytest_testlab.labfile.find import find_lab_file, need_lab_file
from pytest_testlab.labfile.format import OWN, SERVER, Schedule, read_lab_file
from pytest_testlab.labfile.session import command
from pytest_testlab.options import Settings

DOCS = Path(__file__).parents[3] / "docs"
SMALL = '[schedule]\ncron = "30 2 * * *"\ntime-zone = "Europe/Berlin"\ncatalog = ["apps"]\n'


def written(folder: Path, text: str) -> Path:
    for catalog in ("apps", "catalog", "shop"):
        (folder / catalog).mkdir(exist_ok=True)
    file = folder / "lab.toml"
    file.write_text(text)
    return file


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(UsageError) as told:
        read_lab_file(written(folder, text))
    return [line.replace(f"{folder}/", "") for line in str(told.value).splitlines()]


def test_the_smallest_one(tmp_path: Path) -> None:
    """A schedule needs a cron, a time zone and a catalog."""
    lab = read_lab_file(written(tmp_path, SMALL))
    assert lab.schedules == (Schedule(name="nightly", cron="30 2 * * *", zone="Europe/Berlin", catalog=("apps",)),)
    assert (lab.schedules[0].overlap, lab.schedules[0].catch_up_s) == ("refuse", 6 * 3600)


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    """Each with its file, line, key, what is allowed, and the nearest word."""
    lines = refused(
        tmp_path,
        '[server]\nprot = 1\n[schedule]\ncron = "61 2 * * *"\ntime-zone = "Europe/Berln"\ncatalog = []\n'
        'pool = 65\nsuites = ["apps"]\nbudget = 6\noverlap = "maybe"\ncatch-up = "2d"\n'
        'arguments = ["--testlab-db=x"]\n[schedule.weekly]\ncron = "0 3 * * 6"\n[shedule]\n',
    )
    assert [line.split(": ", 2)[:2] for line in lines] == [
        ["lab.toml:2", "server.prot"],
        ["lab.toml:4", "schedule.cron"],
        ["lab.toml:5", "schedule.time-zone"],
        ["lab.toml:6", "schedule.catalog"],
        ["lab.toml:7", "schedule.pool"],
        ["lab.toml:8", "schedule.suites"],
        ["lab.toml:9", "schedule.budget"],
        ["lab.toml:10", "schedule.overlap"],
        ["lab.toml:11", "schedule.catch-up"],
        ["lab.toml:12", "schedule.arguments[1]"],
        ["lab.toml:13", "schedule.weekly"],
        ["lab.toml:13", "schedule.weekly"],
        ["lab.toml:15", "shedule"],
    ]
    said = "\n".join(lines)
    for word in (
        'did you mean "port"?',
        'did you mean "Europe/Berlin"?',
        'did you mean "suite"?',
        "allowed: 1 to 64",
        "allowed: refuse, wait",
        "time-zone is missing",
        'did you mean "schedule"?',
    ):
        assert word in said


def test_a_catalog_that_is_not_there_is_told_beforehand(tmp_path: Path) -> None:
    """With its line; of a path with `::` the file has to be there, and absolute paths are taken as they are."""
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "testlab.toml").touch()
    catalog = f'["apps", "apps/testlab.toml::check", "{tmp_path}/apps", "nope",\n"apps/no.toml::check"]'
    assert refused(tmp_path, SMALL.replace('["apps"]', catalog)) == [
        "lab.toml:4: schedule.catalog[4]: \"nope\" isn't there, seen from the file's folder",
        "lab.toml:5: schedule.catalog[5]: \"apps/no.toml::check\" isn't there, seen from the file's folder",
    ]


def test_several_schedules_have_names(tmp_path: Path) -> None:
    """[schedule] is called nightly; the others by their own names; an unknown name gets the nearest suggested."""
    text = SMALL + SMALL.replace("[schedule]", "[schedule.weekly]")
    lab = read_lab_file(written(tmp_path, text))
    assert [schedule.name for schedule in lab.schedules] == ["nightly", "weekly"]
    assert lab.schedule(None).name == "nightly"
    assert lab.schedule("weekly").name == "weekly"
    with pytest.raises(UsageError, match=r"no schedule is called 'weekl'.*weekly"):
        lab.schedule("weekl")
    assert refused(tmp_path, text.replace("weekly", "nightly")) == [
        "lab.toml:5: schedule.nightly: [schedule] itself is called nightly already"
    ]


def test_it_becomes_the_command_that_one_could_type(tmp_path: Path) -> None:
    """Settings by their flags, pytest's own arguments, and paths below the file's folder; mode nightly."""
    text = (
        SMALL
        + 'pool = 4\nprovider = "memory"\nsuite = ["apps", "demos"]\nbudget = "2h"\narguments = ["-k", "not slow"]\n'
    )
    line = command(read_lab_file(written(tmp_path, text)).schedules[0], tmp_path)
    assert line[1:] == [
        *("-P", "-m", "pytest", "--testlab-mode=nightly"),
        *("--testlab-pool=4", "--testlab-provider=memory", "--testlab-suite=apps,demos", "--testlab-budget=2h"),
        *("-k", "not slow", str(tmp_path / "apps")),
    ]


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config, TESTLAB_CONFIG, this folder, the lab's home, in this order; and nothing is no mistake."""
    here, home, named, other = (tmp_path / name for name in ("here", "home", "named", "other"))
    for folder in (here, home, named, other):
        folder.mkdir()
    monkeypatch.chdir(here)
    settings = Settings(home=str(home))
    assert find_lab_file(None, settings, {}) is None
    with pytest.raises(UsageError, match=r"no lab.toml: looked for .*here/lab.toml and .*home/lab.toml; name one"):
        need_lab_file(None, settings)
    for folder, flag, environ in (
        (home, None, {}),
        (here, None, {}),
        (named, None, {"TESTLAB_CONFIG": str(named / "lab.toml")}),
        (other, str(other / "lab.toml"), {"TESTLAB_CONFIG": str(named / "lab.toml")}),
    ):
        written(folder, SMALL)
        found = find_lab_file(flag, settings, environ)
        assert found is not None
        assert found.folder == folder
    with pytest.raises(UsageError, match=r"not-there\.toml: can't be read: No such file"):
        find_lab_file("not-there.toml", settings, {})


def test_every_key_has_its_words() -> None:
    """The reference page tells of all keys, and of no others; its examples can be copied as they are."""
    assert set(words.OWN) == set(OWN)
    assert set(words.SERVER) == set(SERVER)


@pytest.mark.parametrize("page", ["reference/lab-toml.md", "guide/nights.md"])
def test_every_example_can_be_read(tmp_path: Path, page: str) -> None:
    """What the pages show is a lab.toml as it stands."""
    examples = re.findall(r"^```toml\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    assert examples
    for example in examples:
        read_lab_file(written(tmp_path, example))
