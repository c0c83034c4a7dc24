"""A Hop3 checkout made up by a seed: hundreds of entries in every shape that its formats have, and every odd one.

Each entry is of an `edge`. Most edges both readers must see alike; `DIFFERENCES` are those that they see differently on
purpose, by the names that docs/guide/hop3.md lists them under.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

TIERS = ("fast", "medium", "slow", "very-slow")
PRIORITIES = ("P0", "P1", "P2")
ADDONS = ("postgres", "redis", "mysql", "s3")
SUITES = ("apps/golden", "apps/beta", "apps/alpha", "apps/test-apps-procfile")
DIFFERENCES = frozenset(
    {
        "malformed-recipe",
        "malformed-test-beside-recipe",
        "wrong-type",
        "ignored-itself",
        "hidden-folder",
        "check-py",
        "command-without-expectation",
        "page-without-commands",
        "page-elsewhere",
        "page-named-by-test",
        "script-without-run",
        "demo-of-bare-status",
    }
)


@dataclass
class Tree:
    """What was made."""

    root: Path
    edges: dict[str, str] = field(default_factory=dict)
    """The folder of an entry, or a page, relative to the root → its edge."""

    def write(self, place: str, text: str) -> None:
        """Write a file below the root."""
        file = self.root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def make(root: Path, seed: int, entries: int = 430) -> Tree:
    """Make a tree of at least as many entries, each edge of it several times over."""
    tree, dice = Tree(root), random.Random(seed)
    root.mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text("[project]\n")
    kinds = list(EDGES)
    for number in range(entries):
        edge = kinds[number % len(kinds)]
        EDGES[edge](tree, dice, number, edge)
    return tree


def _text(value: object) -> str:
    """A value as TOML has it; for what is used here that is JSON's way too, but for tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_text(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _lines(table: dict[str, object]) -> str:
    return "".join(f"{key} = {_text(value)}\n" for key, value in table.items())


def _some(dice: random.Random, **offered: object) -> dict[str, object]:
    """A part of what is offered."""
    return {key.replace("__", "-"): value for key, value in offered.items() if dice.random() < 0.6}


def _validation(dice: random.Random) -> dict[str, object]:
    """One check, in either shape."""
    kind = dice.choice(("http", "http", "http", "command", "script"))
    if kind == "command":
        said: dict[str, object] = {"type": "command", "run": f"echo {dice.randrange(99)} {{app_name}}"}
        return said | {"expect": {"exit_code": dice.choice((0, 3)), "stdout_contains": "x"}}
    if kind == "script":
        return {"type": "script", "path": "verify.sh", "expect": {"exit_code": dice.choice((0, 1))}}
    expected = _some(dice, status=dice.choice((200, 201, 404)), json={"state": "up", "n": 3}, contains="größer als")
    if dice.random() < 0.2:
        expected[dice.choice(("status_in", "status-in"))] = [200, 202]
    said = _some(dice, type="http", path=dice.choice(("/", "/health", "/api?x=1")), timeout=dice.choice((5, 90)))
    said |= {"method": dice.choice(("POST", "HEAD"))} if dice.random() < 0.1 else {}
    return said | (expected if dice.random() < 0.5 else {"expect": expected})


def _recipe(dice: random.Random, number: int, *, test: bool) -> str:
    text = "[metadata]\n" + _lines(_some(dice, id=f"app{number}", title=f"App {number}", version="1.0"))
    text += "[build]\n" + _lines(_some(dice, builder="local", toolchain="python"))
    text += "[healthcheck]\n" + _lines(_some(dice, path="/up", contains=f"app {number}"))
    text += "[env]\n" + _lines(_some(dice, COLOUR="grün", DEBUG="0"))
    for addon in dice.sample(ADDONS, dice.randrange(3)):
        text += "[[addons]]\n" + _lines({"type": addon})
    if test:
        said = _some(
            dice,
            tier=dice.choice(TIERS),
            priority=dice.choice(PRIORITIES),
            covers=["python", "uploads and more"],
            author="somebody",
            targets=["docker", "remote"],
        )
        text += "[test]\n" + _lines(said | ({"expects-failure": dice.random() < 0.5} if dice.random() < 0.2 else {}))
        for _ in range(dice.randrange(4)):
            text += "[[test.validations]]\n" + _lines(_validation(dice))
    return text


def _test(dice: random.Random, number: int, *, validations: bool = True) -> str:
    head = {"name": f"t{number}", "tier": dice.choice(TIERS), "priority": dice.choice(PRIORITIES)}
    text = "[test]\n" + _lines(head | _some(dice, description="Words", expects__failure=False))
    text += "[test.requirements]\n" + _lines(_some(dice, targets=["remote"], services=["redis"], network="internet"))
    text += "[test.metadata]\n" + _lines(_some(dice, author="a", covers=["x", "y"]))
    for _ in range(dice.randrange(3) if validations else 0):
        text += "[[validations]]\n" + _lines(_validation(dice))
    return text


def _at(dice: random.Random, number: int, edge: str) -> str:
    odd = dice.choice(("", "", "", " with blanks", "-ünï", ".dotted", "_under"))
    return f"{dice.choice(SUITES)}/{edge}-{number}{odd}"


def _app(tree: Tree, place: str, edge: str) -> None:
    tree.edges[place] = edge
    tree.write(f"{place}/verify.sh", "exit 0\n")
    tree.write(f"{place}/README.md", "# It\n\n```bash exec\ntrue\n```\n")


# --- apps ------------------------------------------------------------------------------------------------------------


def _plain(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = _at(dice, number, edge)
    _app(tree, place, edge)
    tree.write(f"{place}/hop3.toml", _recipe(dice, number, test=edge != "recipe-alone"))


def _with_test(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = _at(dice, number, edge)
    _app(tree, place, edge)
    tree.write(f"{place}/hop3.toml", _recipe(dice, number, test=dice.random() < 0.5))
    broken = "[test\n" if edge == "malformed-test-beside-recipe" else _test(dice, number)
    tree.write(f"{place}/test.toml", broken)


def _test_alone(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = _at(dice, number, edge)
    deeper = edge in ("test-of-folder", "test-of-app-with-recipe")
    app = f"{place}/app" if deeper else place
    _app(tree, place, edge)
    tree.write(f"{app}/verify.sh", "exit 0\n")
    tree.write(f"{app}/Procfile", "web: true\n")
    if edge == "test-of-app-with-recipe":
        tree.write(f"{app}/hop3.toml", _recipe(dice, number, test=True))
    if edge == "empty-recipe-and-test":
        tree.write(f"{place}/hop3.toml", dice.choice(("", "# nothing\n")))
    deployment = {"path": "app"} if deeper else _some(dice, type="python", env_vars={"A": "1"})
    tree.write(f"{place}/test.toml", _test(dice, number) + "[deployment]\n" + _lines(deployment))


def _of_structure(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = _at(dice, number, edge)
    app = f"{place}/app" if edge == "empty-recipe-around-app" else place
    _app(tree, place, edge)
    tree.write(f"{place}/{'test.toml' if edge == 'empty-test' else 'hop3.toml'}", dice.choice(("", "# nothing\n")))
    for name in ("Procfile", "package.json", "check.py"):
        if dice.random() < 0.6 or (name == "package.json" and app != place):
            tree.write(f"{app}/{name}", "{}\n")


def _hull(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = _at(dice, number, edge)
    tree.edges[place] = edge
    tree.write(f"{place}/{'test.toml' if edge == 'hull-of-test' else 'hop3.toml'}", "")
    _app(tree, f"{place}/app", edge)
    tree.write(f"{place}/app/hop3.toml", _recipe(dice, number, test=True))


def _nested(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = _at(dice, number, edge)
    for inner in (place, f"{place}/parts/inner"):
        _app(tree, inner, edge)
        tree.write(f"{inner}/hop3.toml", _recipe(dice, number, test=True))


def _ignored(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = _at(dice, number, edge)
    inner = place if edge == "ignored-itself" else f"{place}/inner"
    tree.write(f"{place}/HOP3_TEST_IGNORE", "")
    _app(tree, inner, edge)
    tree.write(f"{inner}/hop3.toml", _recipe(dice, number, test=True))


def _broken(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = f"apps/broken/{edge}-{number}"
    _app(tree, place, edge)
    tree.write(f"{place}/hop3.toml", _recipe(dice, number, test=True))
    if edge != "broken":
        say = "It deploys: this is Not a Platform Limitation.\n" if edge == "dropped" else "## Blocker\n"
        tree.write(f"{place}/DEFERRED.md", say)


def _faulty(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = _at(dice, number, edge)
    _app(tree, place, edge)
    texts = {
        "malformed-recipe": "[metadata\n",
        "wrong-type": '[test]\nexpects-failure = "no"\n',
        "unknown-tier": '[test]\ntier = "quick"\n',
        "unknown-priority": '[test]\npriority = "P9"\n',
        "unknown-target": '[test]\ntargets = ["moon"]\n',
    }
    tree.write(f"{place}/Procfile", "web: true\n")
    tree.write(f"{place}/hop3.toml", texts[edge])


def _incomplete(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = _at(dice, number, edge)
    _app(tree, place, edge)
    head = {"name": "n", "tier": "fast", "priority": "P0"}
    head.pop(dice.choice(list(head)))
    tree.write(f"{place}/test.toml", "[test]\n" + _lines(dict(head)))


def _hidden(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = f"{dice.choice(SUITES)}/{dice.choice(('.cache', 'node_modules', 'venv'))}/{edge}-{number}"
    _app(tree, place, edge)
    tree.write(f"{place}/hop3.toml", _recipe(dice, number, test=True))


def _check_py(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    _plain(tree, dice, number, edge)
    place = next(place for place, kind in reversed(tree.edges.items()) if kind == edge)
    tree.write(f"{place}/check.py", "def check(host, port): ...\n")


def _command(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = _at(dice, number, edge)
    _app(tree, place, edge)
    tree.write(f"{place}/hop3.toml", '[[test.validations]]\ntype = "command"\nrun = "true"\n')


def _link(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    _plain(tree, dice, number, edge)
    place = next(place for place, kind in reversed(tree.edges.items()) if kind == edge)
    link = tree.root / f"{place}-link"
    link.symlink_to(tree.root / place, target_is_directory=True)


# --- demos and tutorials ---------------------------------------------------------------------------------------------

RUN = 'TITLE = "It"\nAPP_NAME = "it"\n\n\ndef run(ctx):\n    ctx.show(TITLE)\n'


def _script(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = f"demos/{edge}-{number}"
    tree.edges[place] = edge
    script = RUN.replace("def run(ctx)", "def walk(ctx)") if edge == "script-without-run" else RUN
    tree.write(f"{place}/demo-script.py", script)
    if dice.random() < 0.7:
        _app(tree, f"{place}/app", edge)
        tree.write(f"{place}/app/hop3.toml", _recipe(dice, number, test=True))
        tree.write(f"{place}/deep/er/test.toml", _test(dice, number))
    if edge == "script-beside-recipe":
        _app(tree, place, edge)
        tree.write(f"{place}/hop3.toml", _recipe(dice, number, test=True))


def _declarative(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = f"demos/{edge}-{number}"
    tree.edges[place] = edge
    tree.write(f"{place}/site/Procfile", "web: true\n")
    steps: list[dict[str, object]] = [
        {"action": "deploy", "app_path": "site", "app_name": "site"},
        {"action": "wait", "seconds": 1},
        {"action": "command", "run": "true", "expect_exit_code": 0},
        {"action": "validate", "url": "/", "expect_status": 200, "expect_contains": "x"},
        {"action": "destroy", "app_name": "site"},
    ]
    if edge == "demo-of-bare-status":
        del steps[3]["expect_contains"]
    if edge == "demo-without-app":
        steps = steps[1:3]
    text = _test(dice, number, validations=False) + '[demo]\ntype = "declarative"\n'
    tree.write(f"{place}/test.toml", text + "".join("[[demo.steps]]\n" + _lines(step) for step in steps))


def _declared_script(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = f"demos/{edge}-{number}"
    tree.edges[place] = edge
    tree.write(f"{place}/show.py", RUN)
    tree.write(f"{place}/test.toml", _test(dice, number, validations=False) + '[demo]\nscript = "show.py"\n')


def _page(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    where = "docs/guides" if edge == "page-elsewhere" else "docs/tutorials"
    name = dice.choice(("index.md", "README.md")) if edge == "index" else f"{edge}-{number}.md"
    place = f"{where}/{dice.choice(('python', 'node', 'go lang'))}{number if edge == 'index' else ''}/{name}"
    tree.edges[place] = edge
    front = "---\ntutorial:\n  name: A Walk Through It\n  env:\n    A: b\n  teardown: |\n    true\n---\n"
    blocks = "```bash exec id=one timeout=30\necho hello\n```\n\n```output contains\nhello\n```\n"
    blocks += "\n```file path=a.txt\nx\n```\n\n```assert file-exists path=a.txt\n```\n\n```bash skip\nrm -rf /\n```\n"
    if edge == "prose":
        front, blocks = "", "```bash\necho hello\n```\n"
    if edge == "page-without-commands":
        blocks = "```file path=a.txt\nx\n```\n"
    if edge == "page-elsewhere" or (edge == "page" and dice.random() < 0.3):
        front = ""
    tree.write(place, f"{front}# It\n\n{blocks}")


def _page_named(tree: Tree, dice: random.Random, number: int, edge: str) -> None:
    place = f"{_at(dice, number, edge)}"
    tree.edges[place] = edge
    tree.write(f"{place}/walk.md", "# Walk\n\n```bash exec\ntrue\n```\n")
    tree.write(f"{place}/test.toml", _test(dice, number, validations=False) + '[tutorial]\npath = "walk.md"\n')


EDGES: dict[str, Callable[[Tree, random.Random, int, str], None]] = {
    **dict.fromkeys(("recipe", "recipe-alone", "recipe-again"), _plain),
    **dict.fromkeys(("recipe-and-test", "malformed-test-beside-recipe"), _with_test),
    **dict.fromkeys(("test", "test-of-folder", "test-of-app-with-recipe", "empty-recipe-and-test"), _test_alone),
    **dict.fromkeys(("empty-recipe", "empty-test", "empty-recipe-around-app"), _of_structure),
    **dict.fromkeys(("hull-of-recipe", "hull-of-test"), _hull),
    "nested": _nested,
    **dict.fromkeys(("ignored", "ignored-itself"), _ignored),
    **dict.fromkeys(("broken", "dropped", "blocked"), _broken),
    **dict.fromkeys(("malformed-recipe", "wrong-type", "unknown-tier", "unknown-priority", "unknown-target"), _faulty),
    "incomplete": _incomplete,
    "hidden-folder": _hidden,
    "check-py": _check_py,
    "command-without-expectation": _command,
    "link": _link,
    **dict.fromkeys(("script", "script-without-run", "script-beside-recipe"), _script),
    **dict.fromkeys(("declarative", "demo-without-app", "demo-of-bare-status"), _declarative),
    "declared-script": _declared_script,
    **dict.fromkeys(("page", "index", "prose", "page-without-commands", "page-elsewhere"), _page),
    "page-named-by-test": _page_named,
}
