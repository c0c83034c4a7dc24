"""Hop3's files as tests: only where its platform is asked for, and by ids that are their paths."""

from __future__ import annotations

import pytest

RECIPE = '[healthcheck]\ncontains = "x"\n'
PAGE = "---\ntutorial:\n  name: A Walk\n---\n# Walk\n\n```bash exec\ntrue\n```\n"


@pytest.fixture
def checkout(pytester: pytest.Pytester) -> pytest.Pytester:
    """An app, a demo with an app of its own, two pages in the tree of tutorials, and one that is an app's."""
    files = {
        "apps/it/hop3.toml": RECIPE,
        "apps/it/README.md": PAGE,
        "apps/it/test_own.py": "def test_of_the_app(): ...\n",
        "demos/d/demo-script.py": "def run(ctx): ...\n",
        "demos/d/app/hop3.toml": RECIPE,
        "docs/tutorials/python/flask.md": PAGE,
        "docs/tutorials/python/index.md": PAGE,
    }
    for place, text in files.items():
        file = pytester.path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return pytester


def test_ids_are_paths(checkout: pytest.Pytester) -> None:
    """An app and a demo have two stages, a tutorial one test; an app's own tests and pages are its own."""
    result = checkout.runpytest("--testlab-platform", "hop3", "--co", "-q")
    assert [line for line in result.outlines if "::" in line] == [
        "apps/it/hop3.toml::install",
        "apps/it/hop3.toml::check",
        "demos/d/demo-script.py::install",
        "demos/d/demo-script.py::check",
        "docs/tutorials/python/flask.md::tutorial",
    ]


def test_tiers_and_suites_select(checkout: pytest.Pytester) -> None:
    """A tutorial is slow, and `-k slow` finds it; suites and priorities are the lab's own."""
    result = checkout.runpytest("--testlab-platform", "hop3", "--co", "-q", "-k", "slow")
    result.stdout.fnmatch_lines(["docs/tutorials/python/flask.md::tutorial"])
    result.assert_outcomes(deselected=4)
    result = checkout.runpytest("--testlab-platform", "hop3", "--co", "-q", "--testlab-suite", "demos")
    result.assert_outcomes(deselected=3)


def test_one_file_can_be_named(checkout: pytest.Pytester) -> None:
    """By its path, and by the test's own id."""
    result = checkout.runpytest("--testlab-platform", "hop3", "--co", "-q", "apps/it/hop3.toml::check")
    assert [line for line in result.outlines if "::" in line] == ["apps/it/hop3.toml::check"]


def test_without_the_platform_a_recipe_is_nothing_to_the_lab(checkout: pytest.Pytester) -> None:
    """Whoever asks for another platform gets none of it."""
    result = checkout.runpytest("--testlab-platform", "memory", "--co", "-q", "apps", "demos")
    assert not [line for line in result.outlines if "hop3.toml::" in line or "demo-script" in line]


def test_a_malformed_file_is_an_error_of_the_session(checkout: pytest.Pytester) -> None:
    """One that names file and line."""
    (checkout.path / "apps/it/hop3.toml").write_text('[test]\ntier = "quick"\n')
    result = checkout.runpytest("--testlab-platform", "hop3", "--co", "-q")
    result.stdout.fnmatch_lines(["*apps/it/hop3.toml:2: test.tier: 'quick' is unknown; allowed: fast, medium*"])
    assert result.ret == pytest.ExitCode.INTERRUPTED
