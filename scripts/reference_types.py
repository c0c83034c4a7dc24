"""The page of the protocols and of the types that they speak in, made from the source: signatures and docstrings."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from types import ModuleType

from pytest_testlab import evidence, model, protocols

HEAD = """\
# Protocols

What a provider, a target and a platform must be able to do. They are `typing.Protocol`s in `pytest_testlab.protocols`:
a plugin needs no base class. `pytest_testlab.testing` has a suite for each that tests it
([plugins of your own](../guide/plugins.md)).
"""
TYPES_HEAD = """\
# Types that they speak in

Frozen, keyword-only dataclasses. Times are seconds.
"""
TYPES: Sequence[tuple[ModuleType, tuple[str, ...]]] = (
    (
        model,
        (
            "ServerRequest",
            "Server",
            "SshAddress",
            "CommandResult",
            "Application",
            "FrontDoor",
            "Deployment",
            "Section",
            "Verdict",
        ),
    ),
    (evidence, ("Evidence", "ProbeFacts")),
)


def page(made: str) -> str:
    """The whole page."""
    parts = [made + HEAD, *_classes(protocols, None), TYPES_HEAD]
    for module, names in TYPES:
        parts += _classes(module, names)
    return "\n".join(parts)


def _classes(module: ModuleType, names: tuple[str, ...] | None) -> Iterator[str]:
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef) and (names is None or node.name in names):
            yield f"## `{module.__name__}.{node.name}`\n"
            yield (ast.get_docstring(node) or "") + "\n"
            yield from _members(node)


def _members(node: ast.ClassDef) -> Iterator[str]:
    """Attributes, then methods, each with its docstring; properties count as attributes."""
    rows: list[str] = []
    methods: list[str] = []
    for index, part in enumerate(node.body):
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            default = (
                f" = {ast.unparse(part.value)}" if part.value is not None and "field(" not in ast.unparse(part) else ""
            )
            rows.append(
                _row(f"{part.target.id}: {ast.unparse(part.annotation)}{default}", _said_after(node.body, index))
            )
        elif isinstance(part, ast.FunctionDef) and any(ast.unparse(by) == "property" for by in part.decorator_list):
            returns = ast.unparse(part.returns) if part.returns is not None else ""
            rows.append(_row(f"{part.name}: {returns}", ast.get_docstring(part) or ""))
        elif isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
            returns = f" -> {ast.unparse(part.returns)}" if part.returns is not None else ""
            arguments = ast.unparse(part.args).removeprefix("self, ").removeprefix("self")
            methods.append(f"### `{part.name}({arguments}){returns}`\n\n{ast.get_docstring(part) or ''}\n")
    if rows:
        yield "\n".join(["| | |", "|---|---|", *rows, ""])
    yield from methods


def _row(what: str, said: str) -> str:
    return f"| `{what.replace('|', chr(92) + '|')}` | {' '.join(said.split())} |"


def _said_after(body: list[ast.stmt], index: int) -> str:
    """The string that stands below an attribute."""
    after = body[index + 1] if index + 1 < len(body) else None
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
        return after.value.value
    return ""
