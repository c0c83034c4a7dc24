"""pytest-testlab: runs a catalog of self-hosted apps on disposable servers and makes every failure legible.

The Python API is what `__all__` names, and nothing else. It is imported when it is first used, because this module is
read in every pytest of the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_testlab.api import Query, RunResult, collect, query, run, scan

__all__ = ["Query", "RunResult", "collect", "query", "run", "scan"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from pytest_testlab import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
