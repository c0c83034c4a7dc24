"""Writes the reference pages that come from the code: settings and hooks. `--check` says which is out of date."""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path

from pytest_testlab import hookspecs
from pytest_testlab.options import OPTIONS

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
catalog. The built-in providers, platforms, sections, rules and shapes come through the same hooks.
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


PAGES = {"settings.md": settings, "hooks.md": hooks}


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
