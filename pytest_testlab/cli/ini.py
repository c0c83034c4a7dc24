"""The lab's ini keys of the project that a command is run in, from the files that pytest itself reads them from."""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_testlab.errors import UsageError
from pytest_testlab.options import OPTIONS, from_ini


def ini_settings(start: Path | None = None) -> dict[str, str]:
    """The nearest project's `testlab_*` keys by option name; {} where no file up from `start` has any."""
    folder = (start or Path.cwd()).resolve()
    for parent in (folder, *folder.parents):
        for name, read in _READERS:
            if (file := parent / name).is_file():
                found = _read(file, read)
                if any(found.values()):
                    return found
    return {}


def _read(file: Path, read: Any) -> dict[str, str]:
    try:
        table: Mapping[str, Any] = read(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error) as error:
        raise UsageError(f"{file}: can't be read: {error}") from None
    return from_ini({option.name: str(table[option.dest]) for option in OPTIONS if option.dest in table}, file.parent)


def _pyproject(text: str) -> Mapping[str, Any]:
    pytest_table = tomllib.loads(text).get("tool", {}).get("pytest", {})
    return {**pytest_table, **pytest_table.get("ini_options", {})}


def _pytest_toml(text: str) -> Mapping[str, Any]:
    return tomllib.loads(text).get("pytest", {})  # type: ignore[no-any-return]


def _ini(section: str) -> Any:
    def read(text: str) -> Mapping[str, Any]:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
        return dict(parser[section]) if parser.has_section(section) else {}

    return read


_READERS = (
    ("pytest.toml", _pytest_toml),
    (".pytest.toml", _pytest_toml),
    ("pytest.ini", _ini("pytest")),
    (".pytest.ini", _ini("pytest")),
    ("pyproject.toml", _pyproject),
    ("tox.ini", _ini("pytest")),
    ("setup.cfg", _ini("tool:pytest")),
)
