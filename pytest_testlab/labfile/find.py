"""Where a lab's lab.toml is looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_testlab.errors import UsageError
from pytest_testlab.labfile.format import LabFile, read_lab_file
from pytest_testlab.options import Settings
from pytest_testlab.store.home import home_path

FILE_NAME = "lab.toml"
VARIABLE = "TESTLAB_CONFIG"


def find_lab_file(named: str | None, settings: Settings, environ: Mapping[str, str] | None = None) -> LabFile | None:
    """The lab.toml that `--config` or TESTLAB_CONFIG names, or of this folder, or of the lab's home; None without one.

    Raises `UsageError` when a file that was named isn't there, or for whatever is wrong in the one that is found.
    """
    named = named or (os.environ if environ is None else environ).get(VARIABLE)
    if named:
        return read_lab_file(Path(named))
    found = next((place for place in _places(settings) if place.is_file()), None)
    return None if found is None else read_lab_file(found)


def need_lab_file(named: str | None, settings: Settings) -> LabFile:
    """As `find_lab_file`; raises `UsageError` when there is none."""
    found = find_lab_file(named, settings)
    if found is None:
        looked = " and ".join(map(str, _places(settings)))
        raise UsageError(f"no lab.toml: looked for {looked}; name one with --config or {VARIABLE}")
    return found


def _places(settings: Settings) -> tuple[Path, ...]:
    return Path.cwd() / FILE_NAME, home_path(settings) / FILE_NAME
