"""Writes the reference pages that come from the code; `--check` says which is out of date."""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path

import reference_api  # these two are beside this script
import reference_types

from pytest_testlab import hookspecs
from pytest_testlab.labfile import words
from pytest_testlab.labfile.format import PLAYED, key_of
from pytest_testlab.options import OPTIONS, Option

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- Made by scripts/reference.py from the code; don't edit. -->\n\n"
SETTINGS_HEAD = """\
# Settings

A flag wins over the environment, which wins over the ini file (`pytest.ini`, `pyproject.toml`, …). The plugin does
nothing at all unless one of the flags is given on the command line or in `addopts`.
"""
SETTINGS_FOOT = """\
An entry's secrets come from `TESTLAB_SECRET_<NAME>`, or from the file `<name>` in `testlab_secrets_dir`. Those and
`TESTLAB_DATABASE_URL` leave the environment before anything is started. A password in `--testlab-db` shows in the
process list: put it into the environment instead.
"""
HOOKS_HEAD = """\
# Hooks

A plugin of the lab is a module or an object with functions of these names, marked with
`pytest_testlab.hookspecs.hookimpl`. It registers under the entry-point group `testlab`, or is a `conftest.py` of the
catalog. The built-in providers, platforms, sections, rules and shapes come through the same hooks. What a hook is given
and returns is in [protocols](protocols.md); [plugins of your own](../guide/plugins.md) shows them at work.
"""
LAB_HEAD = """\
# lab.toml

What a lab plays by itself, and where its server listens. `testlab serve` and `testlab schedule` read it, and
`testlab run --trigger manual` plays by hand what it says; [a night of your own](../guide/nights.md) begins with it.

It is looked for as `--config FILE`, then as `TESTLAB_CONFIG` names it, then as `lab.toml` in the folder where the
command is given, then in the lab's home (`TESTLAB_HOME`); the command says which one it took. Without one
`testlab serve` shows the pages and plays nothing.

It is read strictly, like a [testlab.toml](testlab-toml.md): everything that is wrong is told at once, each with file,
line, key, what is allowed and the nearest word, and nothing is started.

```toml
[schedule]
cron = "30 2 * * *"
time-zone = "Europe/Berlin"
catalog = ["catalog"]
pool = 4
```

## [schedule]

The table itself is the schedule `nightly`. More of them, or others, are tables below it: `[schedule.weekly]`, with a
name of 1 to 40 of `a-z`, `0-9` and `-`. Each takes these keys, and none takes anything from another.

| key | value | default | |
|---|---|---|---|
"""
LAB_SESSION = """\

Besides, each takes the settings of its session. They mean what [the flags](settings.md) mean, and what isn't given
comes from the environment or the ini file, as for a session by hand. The mode is `nightly`; the store and the home are
the server's.

| key | value | the flag | |
|---|---|---|---|
"""
LAB_SERVER = """\

## [server]

What `testlab serve` takes by its flags, which win.

| key | value | default | |
|---|---|---|---|
"""


def settings() -> str:
    """The page of all settings."""
    lines = [MADE + SETTINGS_HEAD, "| flag | ini key | environment | default | |", "|---|---|---|---|---|"]
    for option in OPTIONS:
        flag = f"`{option.flag_name} {option.metavar}`" if option.flag else ""
        default = f"`{option.default}`" if option.default else ""
        lines.append(f"| {flag} | `{option.dest}` | `{option.env_name}` | {default} | {option.help} |")
    lines += ["", SETTINGS_FOOT]
    return "\n".join(lines)


def hooks() -> str:
    """The page of all hooks."""
    parts = [MADE + HOOKS_HEAD]
    for name, hook in inspect.getmembers(hookspecs, inspect.isfunction):
        if name.startswith("testlab_"):
            signature = str(inspect.signature(hook)).replace("'", "")
            parts += [f"## `{name}`", "", f"`{name}{signature}`", "", inspect.cleandoc(hook.__doc__ or ""), ""]
    return "\n".join(parts)


def lab_toml() -> str:
    """The page of lab.toml."""
    session = [
        f"| `{key_of(option)}` | {_example(option)} | `{option.flag_name}` | {option.help} |" for option in PLAYED
    ]
    parts = [MADE, LAB_HEAD, *_rows(words.OWN), LAB_SESSION, *session, LAB_SERVER, *_rows(words.SERVER)]
    return "\n".join(part.rstrip("\n") for part in parts).replace(MADE.rstrip("\n") + "\n", MADE, 1) + "\n"


def _rows(told: words.Words) -> list[str]:
    return [f"| `{key}` | {value} | {default} | {meaning} |" for key, (value, default, meaning) in told.items()]


def _example(option: Option) -> str:
    value = option.default or option.metavar
    return "a number" if value.isdecimal() else f"a string: `{option.metavar}`"


def protocols() -> str:
    """The page of the protocols."""
    return reference_types.page(MADE)


def python_api() -> str:
    """The page of the Python API."""
    return MADE + reference_api.page()


PAGES = {
    "settings.md": settings,
    "hooks.md": hooks,
    "protocols.md": protocols,
    "lab-toml.md": lab_toml,
    "python-api.md": python_api,
}


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    stale = [name for name, make in PAGES.items() if not _is_current(REFERENCE / name, make())]
    for name in stale:
        if args.check:
            sys.stderr.write(f"docs/reference/{name} is out of date: run python scripts/reference.py\n")
        else:
            (REFERENCE / name).write_text(PAGES[name](), encoding="utf-8")
    return 1 if stale and args.check else 0


def _is_current(page: Path, text: str) -> bool:
    return page.is_file() and page.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
