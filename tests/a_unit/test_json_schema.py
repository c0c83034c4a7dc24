"""The JSON Schema of testlab.toml against the reader that decides."""

from __future__ import annotations

import datetime as dt
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_testlab.catalog import readers, schema
from pytest_testlab.catalog.json_schema import BEYOND, DESCRIPTIONS, entry_schema
from pytest_testlab.catalog.schema import EntryReader
from pytest_testlab.cli import main
from pytest_testlab.hookspecs import hookimpl
from pytest_testlab.plugins import offers, plugin_manager

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "testlab-toml.md").read_text()
EXAMPLES = [
    *(file.read_text() for file in sorted((ROOT / "examples" / "catalog").rglob("testlab.toml"))),
    *re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE),
]
SAID_BY_THE_READER: Mapping[str, str] = {
    "what stands on the disk: a script or a static folder that isn't there, links that lead out": (
        r"doesn't exist in the entry's folder|is not a (file|folder)|symbolic link"
    ),
    "that a name is unique in its catalog": r"is already the name of",
    "that 1.0 is a float and no integer, and that TOML has dates and nan where JSON has none": (
        r"got a float|got a date or time|JSON has no such number|JSON has no dates"
    ),
    "characters that are invisible without being control characters, and U+0000": (
        r"one line without control characters|the character U\+0000|none of them U\+0000"
    ),
    "durations above 24 hours": r"is not a duration such as",
    "a version specifier that PEP 440 doesn't know": r"is not a version specifier",
    "that a demo without [run] has at least one step, and neither http nor addons": (
        r"needs an app, and no \[run\] is given|must hold at least one step"
    ),
    "in json: one path given twice, tables nested too deep, more than 100 values in all": (
        r"is given twice|is nested deeper|must hold at most 100 values|a path must not be empty"
    ),
}


def ecma_pattern(_validator: object, pattern: str, instance: object, _schema: object) -> Any:
    """JSON Schema's own meaning of `$`, the very end; Python's also stands before a last line end."""
    if isinstance(instance, str) and not re.search(re.sub(r"\$(?=\)|$)", r"\\Z", pattern), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


VALIDATOR: Any = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": ecma_pattern})(
    entry_schema()
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An entry's folder with a script and a static site."""
    folder = tmp_path_factory.mktemp("entry")
    (folder / "site").mkdir()
    (folder / "check.py").touch()
    return folder


def faults(folder: Path, document: dict[str, Any]) -> list[str]:
    """What the reader says."""
    reader = EntryReader(folder / "testlab.toml")
    reader.read(document)
    return [f"{at}: {why}" for at, why in reader.faults]


def test_it_is_a_json_schema() -> None:
    """The schema itself is valid in its draft, and says which that is."""
    jsonschema.Draft202012Validator.check_schema(entry_schema())
    assert entry_schema()["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    """`testlab schema` prints the schema and nothing else; an unknown name gets the known ones."""
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == entry_schema()
    assert main(["schema", "entri"]) == 2
    assert capsys.readouterr().err == "testlab: no schema is called 'entri'; did you mean entry?\n"


def test_plugins_offer_schemas_of_their_own() -> None:
    """A plugin with a file of its own adds its schema by the hook testlab_schemas, beside the entry's."""

    class Plugin:
        @staticmethod
        @hookimpl
        def testlab_schemas() -> Mapping[str, Any]:
            return {"inventory": lambda: {"type": "object"}}

    offered = offers(plugin_manager([Plugin()]).hook.testlab_schemas())
    assert offered["inventory"]() == {"type": "object"}
    assert offered["entry"]() == entry_schema()


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_are_valid(example: str) -> None:
    """What the example catalog and the reference page show is valid to an editor."""
    VALIDATOR.validate(tomllib.loads(example))


def test_every_table_and_key_is_in_it() -> None:
    """Nothing of the format is left out, and every key says to an editor what it is."""
    made = entry_schema()["properties"]
    assert set(made) == set(schema.TABLES)
    for table, keys in {"app": schema.HEADER, "demo": schema.HEADER, "build": schema.BUILD, "run": schema.RUN}.items():
        assert set(made[table]["properties"]) == set(keys)
    for check in made["checks"]["items"]["oneOf"]:
        assert all(key["description"] for key in check["properties"].values())
    checks = {key for keys in schema.CHECKS.values() for key in keys}
    known = {"app": set(schema.HEADER), "build": set(schema.BUILD), "run": set(schema.RUN)}
    assert {table: set(says) for table, says in DESCRIPTIONS.items()} == {
        **known,
        "ready": set(schema.READY),
        "check": checks,
    }


def test_what_it_cannot_say_is_listed() -> None:
    """The exemptions of this test are the ones that the schema tells its readers, word for word."""
    assert set(SAID_BY_THE_READER) == set(BEYOND)


# --- both decide alike ------------------------------------------------------------------------------------------------

STRANGE = st.one_of(
    st.none().map(lambda _: {}),
    st.booleans(),
    st.integers(-10, 700),
    st.floats(),
    st.text(max_size=6),
    st.lists(st.text("ab ", max_size=3), max_size=3),
    st.just(dt.date(2026, 11, 21)),
    st.dictionaries(st.text("ab", max_size=2), st.integers(), max_size=2),
)
WORDS = st.sampled_from(
    (
        *("a", "", " ", "A-1", "-a", "xn--a", "a" * 41, "P0", "postgresql", "app-crash", "infra"),
        *("10m", " 1h ", "0s", "25h", "90", "1.5m", "GET", "get", "HEAD", "/", "//", "/a b", "/é", "/a#"),
        *("a\n", "\u200b", "\x85", "\x00", "a\x07", "site", "check.py", "../a", "a/..", "/abs", "a\\b", "..a"),
        *("python3>=3.11", "git", "git >", "python3>=x", "٣s"),
    )
)
ENV_KEYS = st.sampled_from(
    ["A", "port", "Path", "1A", "TESTLAB_X", "testlab_y", "no_proxy", "_", "A B", "PORTAL", "A\n"]
)
ENV_VALUES = st.one_of(
    WORDS,
    STRANGE,
    st.fixed_dictionaries({}, optional={"secret": WORDS, "generate": st.integers(0, 300)}),
)
KEYS: Mapping[str, st.SearchStrategy[Any]] = {
    "tags": st.lists(WORDS, max_size=22),
    "addons": st.lists(WORDS, max_size=3),
    "requires": st.lists(WORDS, max_size=3),
    "commands": st.lists(WORDS, max_size=3),
    "ready": st.fixed_dictionaries({}, optional={"http": WORDS, "within": WORDS, "more": WORDS}),
    "status": st.integers(90, 610),
    "exit-code": st.integers(-2, 260),
    "json": st.dictionaries(st.sampled_from(["a", "a.b", "", "b"]), st.one_of(STRANGE, WORDS), max_size=3),
    "headers": st.dictionaries(st.sampled_from(["X-A", "a b", "", "Content-Type"]), WORDS, max_size=3),
}


def valid(document: dict[str, Any]) -> bool:
    """Whether an editor would call it valid; TOML's dates are strings to it."""
    return bool(VALIDATOR.is_valid(json.loads(json.dumps(document, default=str))))


def tiny(kind: str, key: str, value: Any) -> dict[str, Any]:
    """A sound document but for one value."""
    document: dict[str, Any] = {"app": {"name": "a"}, "run": {"command": "true"}}
    if kind in schema.CHECKS:
        sound = {"http": {"http": "/", "contains": "a"}, "script": {"script": "check.py"}, "command": {"command": "a"}}
        document["checks"] = [sound[kind] | {key: value}]
    else:
        document.setdefault(kind, {"commands": ["a"]} if kind == "build" else {})[key] = value
        if key == "static":
            del document["run"]["command"]
    return document


TABLES = {"app": schema.HEADER, "build": schema.BUILD, "run": schema.RUN, **schema.CHECKS}
PLACES = [(kind, key) for kind, keys in TABLES.items() for key in keys] + [("env", "A")]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(PLACES), st.data())
def test_each_value_is_judged_alike(folder: Path, place: tuple[str, str], data: st.DataObject) -> None:
    """A sound entry with one value exchanged: reader and schema agree on each, but for the list."""
    kind, key = place
    strategy = ENV_VALUES if kind == "env" else st.one_of(KEYS.get(key, WORDS), WORDS, STRANGE)
    document = tiny(kind, key, data.draw(strategy))
    said = faults(folder, document)
    listed = said and re.search("|".join(SAID_BY_THE_READER.values()), "\n".join(said))
    assert valid(document) == (not said) or (valid(document) and listed)


def test_the_list_is_not_too_long(folder: Path) -> None:
    """Each point of the list is a document that the reader refuses and the schema takes."""
    needed = {
        "what stands on the disk: a script or a static folder that isn't there, links that lead out": (
            tiny("script", "script", "absent.py")
        ),
        "that 1.0 is a float and no integer, and that TOML has dates and nan where JSON has none": (
            tiny("http", "status", 200.0)
        ),
        "characters that are invisible without being control characters, and U+0000": tiny("app", "owner", "a\u200b"),
        "durations above 24 hours": tiny("app", "timeout", "25h"),
        "a version specifier that PEP 440 doesn't know": tiny("app", "requires", ["git>=x"]),
        "that a demo without [run] has at least one step, and neither http nor addons": (
            {"demo": {"name": "a"}, "steps": [{"http": "/", "contains": "a"}]}
        ),
        "in json: one path given twice, tables nested too deep, more than 100 values in all": (
            tiny("http", "json", {"a.b": 1, "a": {"b": 1}})
        ),
    }
    assert set(needed) == set(BEYOND) - {"that a name is unique in its catalog"}  # test_catalog_scan has that one
    for words, document in needed.items():
        assert valid(document), words
        assert re.search(SAID_BY_THE_READER[words], "\n".join(faults(folder, document))), words


def test_a_reader_that_says_nothing_is_found() -> None:
    """A reader without words for editors can't be used in the format unnoticed."""
    with pytest.raises(KeyError):
        readers.said(lambda value: value)
