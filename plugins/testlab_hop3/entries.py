"""An entry from a hop3.toml with what a test.toml beside it adds, from a test.toml alone, or from a demo's script."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_testlab.catalog import readers, values
from pytest_testlab.catalog.read import read_bytes
from pytest_testlab.model import Check, Entry, EnvValue, Priority, Ready, Requirement, Suite
from testlab_hop3 import checks, demos
from testlab_hop3.tables import Tables

PLATFORM = "hop3"
TEST = "test.toml"
TIMEOUT_S = 1800.0
"""One for all, as Hop3 has it: a tier is a word to select by."""
BUILDERS = ("docker", "nix")
"""Those that are a tool which the target must have."""
DEPLOYABLE = (
    *("Procfile", "hop3.toml", "Dockerfile", "index.html"),
    *("requirements.txt", "pyproject.toml", "package.json", "go.mod", "Gemfile", "Cargo.toml"),
)
"""What makes the folder `app` the app of the folder that it is in."""
HERE = PurePosixPath()
READY_S = 120.0
LABEL = 24
"""Characters: Hop3 puts the name of an app into paths, accounts and the names of databases."""


class Tier(StrEnum):
    """How long a test takes, in Hop3's words."""

    FAST = "fast"
    MEDIUM = "medium"
    SLOW = "slow"
    VERY_SLOW = "very-slow"


class Where(StrEnum):
    """What Hop3 calls a target."""

    LOCAL = "local"
    DOCKER = "docker"
    REMOTE = "remote"


def of_hop3_toml(file: Path, data: bytes, place: str) -> Entry:
    """The entry of a hop3.toml; one that says nothing is what its folder looks like."""
    tables = Tables(file, data)
    if not tables.document:
        return _of_structure(file, place)
    folder = file.parent
    beside = Tables(folder / TEST, read_bytes(folder / TEST)) if (folder / TEST).exists() else None
    addons = _addons(tables)
    own = tables.table("test")
    head = _head(tables, ("test",)) if own or beside is None else _head(beside, ("test",))
    source, at = (tables, ("test", "validations")) if own or beside is None else (beside, ("validations",))
    health = tables.converted(values.url_path, "healthcheck", "path") or "/"
    found = checks.of_validations(source, at, folder) or [checks.of_health(tables, health)]
    builder = tables.text("build", "builder")
    for each in (tables, beside):
        if each is not None:
            each.require_sound()
    covers = (*head.pop("covers"), *addons)
    return _entry(
        file,
        place,
        found,
        tags=(head.pop("tier") or Tier.MEDIUM, *covers, *([builder] if builder else ())),
        addons=addons,
        requires=tuple(Requirement(tool=tool) for tool in BUILDERS if tool == builder),
        ready=Ready(http=health, within_s=READY_S),
        **head,
    )


def of_test_toml(file: Path, data: bytes, place: str) -> Entry:
    """The entry of a test.toml without a hop3.toml; one that says nothing is what its folder looks like."""
    tables = Tables(file, data)
    if not tables.document:
        return _of_structure(file, place)
    tables.text("test", "name", needed=True)
    head = _head(tables, ("test",), needed=True)
    tags = (head.pop("tier"), *head.pop("covers"))
    if tables.has("tutorial"):
        path = tables.text("tutorial", "path", needed=True)
        if path is not None:
            tables.fault(("tutorial", "path"), f"{path!r} is not a Markdown file, seen from the test.toml's folder")
    if tables.has("demo"):
        steps, app = demos.of_table(tables)
        tables.require_sound()
        return _demo(file, place, steps, app, tags=tags, **head)
    subfolder = tables.converted(values.inner_path, "deployment", "path") or HERE
    folder = file.parent / subfolder
    if not folder.is_dir():
        tables.fault(("deployment", "path"), f"{str(subfolder)!r} is not a folder, seen from the test.toml's")
    env = tables.converted(_environment, "deployment", "env_vars") or {}
    found = checks.of_validations(tables, ("validations",), folder)
    services = tables.words("test", "requirements", "services")
    tables.require_sound()
    return _entry(file, place, found, subfolder=subfolder, tags=tags, env=env, addons=_unique(services), **head)


def of_demo_script(file: Path, place: str) -> Entry:
    """The entry of a folder that is a demo because of its script."""
    demos.check_script(file)
    app = "app" if has_app(file.parent) else "."
    return _demo(file, place, (demos.of_script(file.name),), ".", tags=(Tier.FAST, *_language(file.parent / app)))


def _of_structure(file: Path, place: str) -> Entry:
    """What can be told of an app by its files alone."""
    if (file.parent / demos.DEMO).exists():
        return of_demo_script(file.parent / demos.DEMO, place)
    subfolder = PurePosixPath("app" if has_app(file.parent) else ".")
    folder = file.parent / subfolder
    tags = (Tier.FAST, *_language(folder))
    return _entry(file, place, checks.of_procfile(folder), subfolder=subfolder, tags=tags)


def _head(tables: Tables, at: tuple[str, ...], *, needed: bool = False) -> dict[str, Any]:
    """What both files say of a test in the same words."""
    for where in ((*at, "targets"), (*at, "requirements", "targets")):
        for index, word in enumerate(tables.words(*where)):
            if word not in {one.value for one in Where}:
                known = ", ".join(one.value for one in Where)
                tables.fault((*where, index), f"{word!r} is unknown; allowed: {known}")
    priority = tables.choice(Priority, *at, "priority", needed=needed)
    author = tables.text(*at, "author") or tables.text(*at, "metadata", "author")
    return {
        "tier": tables.choice(Tier, *at, "tier", needed=needed),
        "priority": priority or Priority.P1,
        "covers": (*tables.words(*at, "covers"), *tables.words(*at, "metadata", "covers")),
        "owner": author,
        "rejected": tables.flag(*at, "expects-failure"),
    }


def _entry(file: Path, place: str, found: list[Check], *, subfolder: PurePosixPath = HERE, **fields: Any) -> Entry:
    folder = file.parent / subfolder
    every = checks.with_check_py(found, folder)
    return Entry(
        file=file,
        name=_name(file, place, folder),
        label=_label(folder),
        suite=Suite.APPS,
        timeout_s=TIMEOUT_S,
        recipe=PLATFORM,
        subfolder=subfolder,
        checks=every,
        unproven="" if fields.get("rejected") else checks.unproven(every),
        **{"ready": Ready(within_s=READY_S), **fields, "tags": _tags(fields["tags"])},
    )


def _demo(file: Path, place: str, steps: tuple[Check, ...], app: str, **fields: Any) -> Entry:
    return Entry(
        file=file,
        name=_name(file, place, file.parent / app),
        label=_label(file.parent),
        suite=Suite.DEMOS,
        timeout_s=TIMEOUT_S,
        steps=steps,
        **{**fields, "tags": _tags(fields["tags"])},
    )


def _name(file: Path, place: str, folder: Path) -> str:
    """The app's path in the catalog, as Hop3 calls it; of the catalog's own folder, and of one outside, its name."""
    depth = len(PurePosixPath(place).parts)
    root = file.parents[depth - 1] if 0 < depth <= len(file.parents) else file.parent
    try:
        name = folder.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        name = "."
    return folder.resolve().name if name == "." else name


def _label(folder: Path) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower())[:LABEL].strip("-")
    return words if len(words) > 2 else f"app-{words}".strip("-")  # Hop3 takes no shorter ones


def _tags(given: Iterable[object]) -> tuple[str, ...]:
    words = (re.sub(r"[^A-Za-z0-9_.-]+", "-", str(word)).strip("-._")[:40] for word in given if word)
    return _unique(word for word in words if word)


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _addons(tables: Tables) -> tuple[str, ...]:
    kinds = (tables.text("addons", index, "type") for index in range(tables.rows("addons")))
    return _unique(kind for kind in kinds if kind)


def has_app(folder: Path) -> bool:
    """Whether the app of a folder lies in its folder `app`."""
    return any((folder / "app" / name).exists() for name in DEPLOYABLE)


def _language(folder: Path) -> tuple[str, ...]:
    marks = {
        "requirements.txt": "python",
        "pyproject.toml": "python",
        "package.json": "nodejs",
        "go.mod": "golang",
        "Gemfile": "ruby",
    }
    return next(((language,) for mark, language in marks.items() if (folder / mark).exists()), ())


def _environment(given: Any) -> dict[str, EnvValue]:
    """Numbers and booleans are meant as the text that they are."""
    texts = {key: str(value).lower() if type(value) is bool else value for key, value in readers.table(given).items()}
    return values.environment({key: str(value) if type(value) is int else value for key, value in texts.items()})
