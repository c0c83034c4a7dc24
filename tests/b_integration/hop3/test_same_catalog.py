"""Our reading of a Hop3 checkout against hop3-testing's own, over a tree of every shape that we can think of."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import hop3_tree
import pytest

SEED = 7
ROOTS = ("apps", "demos", "docs/guides", "docs/tutorials")
GUIDE = Path(__file__).parents[3] / "docs/guide/hop3.md"
SUPPORT = Path(hop3_tree.__file__).parent


def theirs(tree: hop3_tree.Tree, package: Path) -> Any:
    script = Path(__file__).parent / "catalog_of_theirs.py"
    env = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(script), *ROOTS]
    done = subprocess.run(command, cwd=tree.root, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def ours(tree: hop3_tree.Tree, dump: Path) -> Any:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "hop3_dump", "--testlab-platform"]
    command += ["hop3", "--co", "-q", "--continue-on-collection-errors", f"--rootdir={tree.root}", *ROOTS]
    env = {**os.environ, "PYTHONPATH": str(SUPPORT), "HOP3_DUMP": str(dump)}
    done = subprocess.run(command, cwd=tree.root, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert dump.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(dump.read_text())


def edge_of(tree: hop3_tree.Tree, place: str) -> str:
    """The edge that a name, a folder or a file belongs to."""
    path = place
    while path not in tree.edges:
        path, slash, _ = path.rpartition("/")
        assert slash, f"{place} belongs to nothing that was made"
    return tree.edges[path]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, hop3_testing: Path) -> tuple[hop3_tree.Tree, Any, Any]:
    """(the tree, what they find in it, what we find)."""
    tree = hop3_tree.make(tmp_path_factory.mktemp("hop3") / "checkout", SEED)
    return tree, theirs(tree, hop3_testing), ours(tree, tree.root.parent / "ours.json")


def test_the_same_entries_but_for_the_listed_differences(both: tuple[hop3_tree.Tree, Any, Any]) -> None:
    """Names, kinds, tiers, priorities, negatives and checks are theirs, and each listed difference does exist."""
    tree, their, our = both
    assert len(their["entries"]) >= 300
    differing: dict[str, list[str]] = {}
    for name in sorted(their["entries"].keys() | our["entries"].keys()):
        left, right = their["entries"].get(name), dict(our["entries"].get(name) or {})
        right.pop("file", None)
        if left != (right or None):
            differing.setdefault(edge_of(tree, name), []).append(f"{name}:\n  theirs {left}\n  ours   {right or None}")
    unlisted = [case for edge, cases in differing.items() if edge not in hop3_tree.DIFFERENCES for case in cases]
    assert not unlisted, "\n".join(unlisted[:5])
    assert set(differing) == hop3_tree.DIFFERENCES


def test_what_they_refuse_we_refuse(both: tuple[hop3_tree.Tree, Any, Any]) -> None:
    """A file that they can't load is an error here too, by its own name; nothing that is well for both is one."""
    tree, their, our = both
    refused = {error.rpartition("/")[0] for error in our["errors"]}
    assert their["errors"]
    assert set(their["errors"]) <= refused
    extra = {edge_of(tree, error) for error in our["errors"]} - {edge_of(tree, error) for error in their["errors"]}
    assert extra <= hop3_tree.DIFFERENCES


def test_the_guide_lists_each_difference() -> None:
    """The table of the guide has a row for each difference, and none that isn't one."""
    section = GUIDE.read_text().partition("## What is read differently")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == hop3_tree.DIFFERENCES
