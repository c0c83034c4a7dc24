"""What a demo shows: the steps of a declarative one, or a script."""

from __future__ import annotations

import ast
from pathlib import Path

from pytest_testlab.errors import CatalogError, Problem
from pytest_testlab.model import PlatformCheck
from testlab_hop3.tables import Tables

DEMO = "demo-script.py"
ACTIONS = ("deploy", "wait", "validate", "destroy", "command")
LONGEST_WAIT_S = 600


def of_table(tables: Tables) -> tuple[tuple[PlatformCheck, ...], str]:
    """(the steps of [demo], the folder of the first app that it deploys, "." where it deploys none)."""
    kind = tables.text("demo", "type") or "script"
    if kind == "script":
        script = tables.text("demo", "script") or DEMO
        check_script(tables.file.parent / script)
        return (of_script(script),), "."
    if kind != "declarative":
        tables.fault(("demo", "type"), f"{kind!r} is unknown; allowed: declarative, script")
    steps = tuple(_step(tables, index) for index in range(tables.rows("demo", "steps")))
    if not steps:
        tables.fault(("demo",), "has no steps; add [[demo.steps]]")
    paths = (step.values.get("path") for step in steps if step.action == "demo-deploy")
    return steps, next((str(path) for path in paths if path), ".")


def of_script(script: str) -> PlatformCheck:
    """The one step of a demo that is a script."""
    return PlatformCheck(name=script, action="demo-script", values={"script": script})


def check_script(file: Path) -> None:
    """Raise `CatalogError` for a demo's script that is no Python or has no `run(ctx)`; nothing of it is executed."""
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except OSError as error:
        raise _refused(file, f"can't be read: {error.strerror or error}") from None
    except (SyntaxError, ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        raise _refused(file, f"is not Python: {getattr(error, 'msg', None) or error}", line) from None
    runs = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run"]
    if not runs:
        raise _refused(file, "has no function run(ctx), which is what a demo does")
    if not (runs[-1].args.posonlyargs or runs[-1].args.args or runs[-1].args.vararg):
        raise _refused(file, "run() takes no argument; a demo's is called with its context: run(ctx)", runs[-1].lineno)


def _step(tables: Tables, index: int) -> PlatformCheck:
    at = ("demo", "steps", index)
    action = tables.text(*at, "action", needed=True) or ""
    if action and action not in ACTIONS:
        tables.fault((*at, "action"), f"{action!r} is unknown; allowed: {', '.join(ACTIONS)}")
    said: dict[str, object] = {}
    match action:
        case "deploy":
            path = tables.text(*at, "app_path", needed=True)
            if path is not None and not (tables.file.parent / path).is_dir():
                tables.fault((*at, "app_path"), f"{path!r} is not a folder, seen from the test.toml's")
            said = {"path": path, "app": tables.text(*at, "app_name", needed=True)}
        case "destroy":
            said = {"app": tables.text(*at, "app_name", needed=True)}
        case "wait":
            said = {"seconds": _seconds(tables, at)}
        case "command":
            code = tables.number(*at, "expect_exit_code")
            said = {"run": tables.text(*at, "run", needed=True), "exit_code": code or 0}
        case "validate":
            said = _validate(tables, at)
    shown = said.get("app") or said.get("run") or said.get("url") or said.get("seconds")
    name = f"{action} {shown}" if shown is not None else action
    return PlatformCheck(name=name[:80] or "step", action=f"demo-{action}", values=said)


def _validate(tables: Tables, at: tuple[str | int, ...]) -> dict[str, object]:
    kind = tables.text(*at, "type") or "http"
    if kind != "http":
        tables.fault((*at, "type"), f"{kind!r} can't be a step; allowed: http")
    said: dict[str, object] = {
        "url": tables.text(*at, "url") or "/",
        "status": tables.number(*at, "expect_status"),
        "contains": tables.text(*at, "expect_contains"),
    }
    if said["contains"] is None:
        say = 'asks for nothing but a status, which any page would do for; add expect_contains = "…"'
        tables.fault(at, say)
    return said


def _seconds(tables: Tables, at: tuple[str | int, ...]) -> int:
    seconds = tables.number(*at, "seconds")
    if seconds is not None and not 0 <= seconds <= LONGEST_WAIT_S:
        tables.fault((*at, "seconds"), f"{seconds} is not from 0 to {LONGEST_WAIT_S}")
    return 5 if seconds is None else seconds


def _refused(file: Path, why: str, line: int | None = None) -> CatalogError:
    return CatalogError([Problem(file=file, line=line, message=why)])
