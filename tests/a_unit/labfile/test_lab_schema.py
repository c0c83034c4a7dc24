"""The JSON Schema of lab.toml against the reader that decides."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_testlab.cli import main
from pytest_testlab.labfile.format import LabReader
from pytest_testlab.labfile.json_schema import lab_schema

ROOT = Path(__file__).parents[3]
NIGHTLY = {"cron": "30 2 * * *", "time-zone": "Europe/Berlin", "catalog": ["catalog"]}
EXAMPLES = [
    example
    for page in ("docs/reference/lab-toml.md", "docs/guide/nights.md")
    for example in re.findall(r"^```toml\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
]
VALIDATOR = jsonschema.Draft202012Validator(lab_schema())


def _faults(folder: Path, document: dict[str, Any]) -> list[str]:
    (folder / "catalog").mkdir(exist_ok=True)
    reader = LabReader(folder / "lab.toml")
    reader.read(document)
    return [f"{at}: {why}" for at, why in reader.faults]


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    """`testlab schema lab`, or by the file's name: the schema, valid in its draft, and nothing else."""
    assert main(["schema", "lab"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == lab_schema()
    assert main(["schema", "lab.toml"]) == 0
    assert capsys.readouterr().out == printed
    jsonschema.Draft202012Validator.check_schema(lab_schema())


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_are_valid(example: str) -> None:
    """What the pages show is valid to an editor."""
    VALIDATOR.validate(tomllib.loads(example))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"server": {"port": 8411, "url": "https://lab.example.org"}},
        {"schedule": {**NIGHTLY, "pool": 4, "budget": "2h", "suite": ["apps", "demos"], "catch-up": "no"}},
        {"schedule": {"weekly": {**NIGHTLY, "overlap": "wait", "arguments": ["-k", "not slow"], "pool": "2"}}},
        {"schedule": {**NIGHTLY, "weekly": NIGHTLY, "keep-logs": 3, "catch-up": "2h"}},
    ],
    ids=str,
)
def test_what_the_reader_takes_is_valid(tmp_path: Path, document: dict[str, Any]) -> None:
    """An editor marks nothing that is right."""
    assert _faults(tmp_path, document) == []
    VALIDATOR.validate(document)


@pytest.mark.parametrize(
    "document",
    [
        {"schedules": {}},
        {"schedule": {}},
        {"schedule": {"pool": 4}},
        {"schedule": {**NIGHTLY, "cron": "30 2 * *"}},
        {"schedule": {**NIGHTLY, "catalog": []}},
        {"schedule": {**NIGHTLY, "overlap": "queue"}},
        {"schedule": {**NIGHTLY, "catch-up": "soon"}},
        {"schedule": {**NIGHTLY, "budget": 7200}},
        {"schedule": {**NIGHTLY, "poool": 2}},
        {"schedule": {"Weekly": NIGHTLY}},
        {"schedule": {"weekly": {"cron": "30 2 * * *"}}},
        {"server": {"port": 70_000}},
        {"server": {"url": "lab.example.org"}},
    ],
    ids=str,
)
def test_a_mistake_is_marked(tmp_path: Path, document: dict[str, Any]) -> None:
    """What the reader refuses, and an editor can see, it shows."""
    assert _faults(tmp_path, document)
    assert not VALIDATOR.is_valid(document)
