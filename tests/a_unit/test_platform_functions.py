"""Which test functions are the catalog's, and what their marks say, also where those are mistaken. Nothing is run."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from pytest_testlab.catalog.functions import PlatformTest
from pytest_testlab.catalog.items import CatalogItem, digest

MODULE = """
    import pytest

    pytestmark = pytest.mark.testlab(owner="ops")

    @pytest.mark.testlab(app="notes", priority="P0", tags=["door"], timeout="2m", alone=True)
    def test_door(http):
        pass

    @pytest.mark.parametrize("n", [1, 2])
    def test_n(target, n):
        pass

    @pytest.mark.parametrize("app", ["notes", "../notes"], indirect=True)
    def test_each(app):
        pass

    @pytest.fixture
    def two(apps):
        return apps("notes", "notes")

    class TestThings:
        def test_two(self, two):
            pass

    def test_plain(tmp_path):
        pass
"""
OWN = """
    import pytest

    @pytest.fixture
    def app():
        return "mine"

    def test_own(app):
        pass
"""


class Kept:
    """What a session collected."""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = list(session.items)
        self.tests = {item.nodeid: item for item in session.items if isinstance(item, CatalogItem)}
        self.digest = digest(session.config)

    def function(self, name: str) -> PlatformTest:
        found = self.tests[f"platform/test_door.py::{name}"]
        assert isinstance(found, PlatformTest)
        return found


class Catalog:
    """A catalog with an entry and a module of tests."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        pytester.makeini("[pytest]\nstrict_markers = true\n")
        self.write("notes/testlab.toml", '[app]\nname = "notes"\n\n[run]\ncommand = "true"\n')
        self.write("platform/test_door.py", textwrap.dedent(MODULE))

    def write(self, name: str, text: str) -> Path:
        file = self._pytester.path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    def text(self, name: str) -> str:
        file = self._pytester.path / name
        return file.read_text() if file.exists() else ""

    def collect(self, *arguments: str) -> tuple[Kept, pytest.RunResult]:
        kept = Kept()
        options = ("--co", "-p", "no:randomly", "-p", "no:cacheprovider", "--testlab-provider", "memory")
        return kept, self._pytester.runpytest_inprocess(*options, *arguments, plugins=[kept])


@pytest.fixture
def catalog(pytester: pytest.Pytester) -> Catalog:
    return Catalog(pytester)


def test_those_that_ask_for_the_fixtures_are_the_catalogs(catalog: Catalog) -> None:
    """Also through fixtures of their own, as methods and with parameters; each is a unit, all others stay pytest's."""
    catalog.write("platform/test_own.py", textwrap.dedent(OWN))
    kept, _ = catalog.collect()
    assert [name for name in kept.tests if "testlab.toml" not in name] == [
        "platform/test_door.py::test_door",
        "platform/test_door.py::test_n[1]",
        "platform/test_door.py::test_n[2]",
        "platform/test_door.py::test_each[notes]",
        "platform/test_door.py::test_each[../notes]",
        "platform/test_door.py::TestThings::test_two",
    ]
    assert len({kept.tests[name].unit_key for name in kept.tests}) == 7
    assert {type(item) for item in kept.items if item.nodeid not in kept.tests} == {pytest.Function}


def test_what_the_marks_say(catalog: Catalog) -> None:
    """The nearest mark wins; an entry that is named, by name or path, is found, and its secrets are asked for."""
    kept, _ = catalog.collect()
    assert kept.function("test_door").describe() == {
        "test": "platform/test_door.py::test_door",
        "row": "platform/test_door.py::test_door",
        "image": "",
        "suffix": "",
        "suite": "platform",
        "entry": "door",
        "stage": "test_door",
        "priority": "P0",
        "owner": "ops",
        "tags": ["door"],
        "file": "platform/test_door.py",
        "unit": "platform/test_door.py::test_door",
        "alone": True,
        "first": False,
    }
    assert kept.function("test_door").about.timeout_s == 120.0
    for name in ("test_door", "test_each[notes]", "test_each[../notes]"):
        assert [subject.name for subject in kept.function(name).subjects] == ["door", "notes"]
    other = kept.function("TestThings::test_two")
    assert (other.about.priority, other.about.owner, other.alone, other.stage) == (
        "P1",
        "ops",
        False,
        "TestThings::test_two",
    )


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--testlab-suite", "apps"), ["check", "install"]),
        (("--testlab-suite", "platform", "-k", "not door.py and not test_"), []),
        (("--testlab-suite", "platform", "--testlab-priority", "P0"), ["test_door"]),
        (("-m", "platform and P0"), ["test_door"]),
        (("-m", "platform and P1", "-k", "each"), ["test_each[../notes]", "test_each[notes]"]),
        (("platform/test_door.py::TestThings",), ["TestThings::test_two"]),
        (("-k", "door and not n and not each and not two and not plain", "platform"), ["test_door"]),
    ],
)
def test_a_selection(catalog: Catalog, arguments: tuple[str, ...], names: list[str]) -> None:
    """By suite, priority, mark, word and place, as any other test of the catalog."""
    kept, _ = catalog.collect(*arguments)
    assert sorted(name.partition("::")[2] for name in kept.tests) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "def test_it(app): pass",
            "*platform/test_door.py:3: test_it: it asks for the fixture app, and nothing says which: *",
        ),
        ("@pytest.mark.testlab(ownr='x')\ndef test_it(target): pass", '*ownr: unknown key; did you mean "owner"[?]*'),
        ("@pytest.mark.testlab(timeout='x')\ndef test_it(target): pass", '*test_it: timeout: "x" is not a duration*'),
        ("@pytest.mark.testlab(alone=1)\ndef test_it(target): pass", "*alone: expected true or false, got an integer"),
        ("@pytest.mark.testlab('x')\ndef test_it(target): pass", "*: the mark takes keywords only: app, owner, *"),
        (
            "@pytest.mark.testlab(app='note')\ndef test_it(app): pass",
            '*no entry "note" is in *; did you mean "notes"[?]',
        ),
        ("@pytest.mark.testlab(app='../x')\ndef test_it(app): pass", "*test_door.py::test_it: ../x: * is not there; *"),
    ],
)
def test_a_mistake_in_a_mark(catalog: Catalog, text: str, said: str) -> None:
    """It is told in a line, with its place, and without a traceback."""
    catalog.write("platform/test_door.py", f"import pytest\n\n{text}\n")
    _, result = catalog.collect("platform")
    assert result.ret in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR)
    pytest.LineMatcher(result.outlines + result.errlines).fnmatch_lines([said])
    assert "Traceback" not in "".join(result.outlines + result.errlines)


def test_an_entry_that_was_not_collected_is_found(catalog: Catalog) -> None:
    """A name is looked for below pytest's root folder, so that one module can be run by itself."""
    kept, _ = catalog.collect("platform/test_door.py::test_door")
    entry = kept.function("test_door").entry
    assert entry is not None
    assert entry.name == "notes"


@pytest.mark.parametrize("name", ["platform/test_door.py", "platform/conftest.py", "conftest.py", "notes/testlab.toml"])
def test_the_digest_is_of_everything_that_they_stand_on(catalog: Catalog, name: str) -> None:
    """Their modules, the conftest files above them, and the entries that they name."""
    file = catalog.write(name, catalog.text(name))
    before, _ = catalog.collect("platform/test_door.py")
    file.write_text(file.read_text() + "# more\n")
    after, _ = catalog.collect("platform/test_door.py")
    assert before.digest != after.digest


@pytest.mark.parametrize(
    ("arguments", "has_install"),
    [
        ((), True),
        (("-k", "test_door"), False),
        (("--testlab-suite", "apps"), False),
        (("--testlab-suite", "platform", "--testlab-priority", "P0"), True),
        (("platform/test_door.py::test_plain",), False),
        (("-m", "install"), True),
    ],
)
def test_the_install_is_the_first_test_of_a_night(
    catalog: Catalog, arguments: tuple[str, ...], has_install: bool
) -> None:
    """As far as there is something that stands on it, and the selection doesn't leave it out."""
    kept, _ = catalog.collect("--testlab-mode", "nightly", *arguments)
    assert ("platform::install" in kept.tests) is has_install
    assert not has_install or kept.items[0].nodeid == "platform::install"
    without, _ = catalog.collect(*arguments)
    assert "platform::install" not in without.tests
