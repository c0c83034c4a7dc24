"""The reference page of the Python API, from its signatures, fields and docstrings."""

from __future__ import annotations

import dataclasses
import inspect

import pytest_testlab
from pytest_testlab.store import views

API_HEAD = """\
# The Python API

What the package `pytest_testlab` itself offers. It is imported when it is first used: `import pytest_testlab` costs
nothing.

```python
import pytest_testlab

for entry in pytest_testlab.scan("my-catalog"):
    print(entry.name, entry.priority)

result = pytest_testlab.run("my-catalog", pool=2, arguments=["-k", "radicale"])
for failure in result.failures:
    print(failure.test, failure.failure_class, *failure.headline, sep="\\n  ")

with pytest_testlab.query() as store:
    print([item.test for item in store.diff().newly_failing])
```

**Stable** means: the names in `pytest_testlab.__all__`, their signatures, and the fields of what they return are kept
within a major version; new keywords with a default, new methods and new fields may come. A test pins the signatures.
Whatever else the package holds is its own, but for the hooks, `pytest_testlab.testing`, and the types and errors that
they and this page name. Errors are those of `pytest_testlab.errors`: what the caller can mend is a `UsageError`.
"""


def page() -> str:
    """The page of the Python API."""
    parts = [API_HEAD]
    for name in ("scan", "run", "RunResult", "collect", "query", "Query"):
        parts += _described(f"pytest_testlab.{name}", getattr(pytest_testlab, name), level=2)
    methods = inspect.getmembers(pytest_testlab.Query, inspect.isfunction)
    for name, method in methods:
        if not name.startswith("_"):
            parts += _described(f"Query.{name}", method, level=3)
    parts += [
        "## What comes back",
        "",
        "Frozen dataclasses of `pytest_testlab.store.views`. Moments are aware, in UTC.",
    ]
    parts += ["Durations are seconds.", ""]
    for view in (views.RunView, views.ResultView, views.AttemptView, views.SectionView, views.DiffView, views.DiffItem):
        parts += _described(view.__name__, view, level=3)
    for view in (views.TestView, views.HistoryCell):
        parts += _described(view.__name__, view, level=3)
    return "\n".join(parts).rstrip() + "\n"


def _described(title: str, thing: object, *, level: int) -> list[str]:
    """A heading, the signature or the fields, and the docstring."""
    lines = [f"{'#' * level} `{title}`", ""]
    if dataclasses.is_dataclass(thing):
        lines += [inspect.cleandoc(thing.__doc__ or ""), ""]
        lines += [f"- `{field.name}: {field.type}`" for field in dataclasses.fields(thing)]
        return [*lines, ""]
    if inspect.isfunction(thing):
        lines += ["```python", f"{title.rpartition('.')[2]}{inspect.signature(thing)}".replace("'", ""), "```", ""]
    return [*lines, inspect.cleandoc(thing.__doc__ or ""), ""]
