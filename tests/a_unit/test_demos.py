"""What a [demo] may say beside what an [app] does."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_testlab.catalog.read import parse_entry
from pytest_testlab.errors import CatalogError
from pytest_testlab.model import CommandCheck, Entry, HttpCheck

DEMO = '[demo]\nname = "tour"\n'
RUN = '[run]\ncommand = "serve"\n'
STEP = '[[steps]]\ncommand = "true"\n'


def read(text: str) -> Entry:
    return parse_entry(Path("/catalog/tour/testlab.toml"), text.encode())


def test_steps_are_written_as_checks_are() -> None:
    """In their order, beside checks."""
    entry = read(DEMO + RUN + '[[steps]]\nname = "fill"\ncommand = "fill"\n[[steps]]\nhttp = "/"\ncontains = "x"\n')
    assert entry.deploys
    assert entry.checks == ()
    assert entry.steps == (
        CommandCheck(name="fill", command="fill"),
        HttpCheck(name="GET /", path="/", contains="x"),
    )


def test_a_demo_may_be_nothing_but_steps() -> None:
    """Then there is no app to deploy."""
    entry = read(DEMO + STEP + '[[checks]]\ncommand = "test -f made"\n')
    assert not entry.deploys
    assert (len(entry.steps), len(entry.checks)) == (1, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DEMO, 'no [run] is given; add [run] with command = "…" or static = "…"'),
        ("steps = []\n" + DEMO, "testlab.toml:1: steps: must hold at least one step, as no [run] is given"),
        ('[app]\nname = "tour"\n' + STEP, "no [run] is given"),
        ('[app]\nname = "tour"\n' + RUN + STEP, "steps: belongs to a [demo]; what must hold of an [app] are its"),
        (DEMO + STEP + '[[steps]]\nhttp = "/"\ncontains = "x"\n', "steps[2].http: needs an app, and no [run] is given"),
        (DEMO + STEP + '[[checks]]\nhttp = "/"\ncontains = "x"\n', "checks[1].http: needs an app, and no [run] is giv"),
        (DEMO + 'addons = ["postgresql"]\n' + STEP, "demo.addons: needs an app, and no [run] is given"),
        (DEMO + "[steps]\n", "steps: expected an array of tables, got a table; write [[steps]], one for each step"),
        (DEMO + '[[steps]]\nname = "x"\n', "steps[1]: it has none of http, script and command; a step has exactly one"),
        (DEMO + RUN + '[[steps]]\nhttp = "/"\n', "steps[1]: asserts nothing about the answer's content"),
        (DEMO + '[[steps]]\nscript = "absent.py"\n', 'steps[1].script: "absent.py" doesn\'t exist in the entry'),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    """Each fault is told with its key."""
    with pytest.raises(CatalogError) as error:
        read(text)
    assert said in str(error.value)
