"""Holds what plugins bring against the seams, and says where in a plugin's code something went wrong.

What is wrong is said in one line that names the plugin, the place and the nearest right name; nothing of the plugin is
called to find out.
"""

from __future__ import annotations

import difflib
import inspect
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pytest_testlab import hookspecs
from pytest_testlab.errors import TestlabError, UsageError, one_line

ENGINE = Path(__file__).parent
PYTHON = Path(sysconfig.get_path("stdlib"))
HOOKS: Mapping[str, Callable[..., Any]] = {
    name: hook for name, hook in vars(hookspecs).items() if name.startswith("testlab_")
}
MOST = 300
"""Characters that are shown of what a plugin raised."""


# --- where -----------------------------------------------------------------------------------------------------------


def blame(who: str, error: BaseException, *plugins: object) -> str:
    """What went wrong in a plugin, in one line with the place in its code: "the provider vm failed: …".

    What the lab's own errors say was meant to be read: it stands alone.
    """
    if isinstance(error, TestlabError):
        return str(error)
    said = one_line(" ".join(str(error).split()))[:MOST]
    return f"{who} failed: {type(error).__name__}{f': {said}' if said else ''}{raised_at(error, *plugins)}"


def raised_at(error: BaseException, *plugins: object) -> str:
    """Where an error came from, as " (conftest.py:12, in create)"; empty where none of the code is a plugin's.

    The innermost line of the code that one of `plugins` is made of, else of whatever is neither the lab's nor Python's.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    lines = dict(zip(frames, (line for _, line in traceback.walk_tb(error.__traceback__)), strict=True))
    own = {room for plugin in plugins for room in _rooms(plugin)}
    theirs = [frame for frame in frames if frame.f_globals.get("__name__", "").partition(".")[0] in own]
    theirs = theirs or [frame for frame in frames if _is_foreign(frame.f_code.co_filename)]
    if not theirs:
        return ""
    frame = theirs[-1]
    file = _shown(frame.f_code.co_filename, frame.f_globals.get("__name__", ""))
    return f" ({file}:{lines[frame]}, in {frame.f_code.co_name})"


def _rooms(plugin: object) -> set[str]:
    """The packages that an object's classes, or a module, are from; the lab's own left out."""
    if isinstance(plugin, ModuleType):
        names = {plugin.__name__}
    else:
        names = {kind.__module__ for kind in type(plugin).__mro__}
        names |= {getattr(plugin, "__module__", None) or ""}
    rooms = {name.partition(".")[0] for name in names}
    return rooms - {"pytest_testlab", "builtins", "typing", "abc", "functools", ""}


def _is_foreign(file: str) -> bool:
    path = Path(file)
    if path.is_relative_to(ENGINE) or "pluggy" in path.parts:
        return False
    return not path.is_relative_to(PYTHON) or "site-packages" in path.parts


def _shown(file: str, module: str) -> str:
    """A path as short as it can be found by: from the working directory, else from its package on."""
    path = Path(file)
    if path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    package = "." in module or path.name == "__init__.py"
    return "/".join(path.parts[-module.count(".") - (2 if path.name == "__init__.py" else 1) :]) if package else file


# --- hooks -----------------------------------------------------------------------------------------------------------


def check_hooks(plugin: object, who: str, marks: Callable[[object, str], Mapping[str, Any] | None]) -> None:
    """Raise `UsageError` for a hook that there is not, one that asks for what it can't get, or one without its mark.

    `marks` is the manager's way to know a hook's implementation; `who` names the plugin where a file can't.
    """
    for name in dir(plugin):
        marked = marks(plugin, name)
        if marked is not None:
            _check_marked(plugin, name, marked, who)
        elif name in HOOKS and inspect.isfunction(getattr(plugin, name, None)):
            say = f"is no hook without @hookimpl above it (from {hookspecs.__name__} import hookimpl)"
            raise UsageError(f"{_place(getattr(plugin, name), who)}: {name} {say}")


def _check_marked(plugin: object, name: str, marked: Mapping[str, Any], who: str) -> None:
    function = getattr(plugin, name)
    hook = marked.get("specname") or name
    if hook not in HOOKS:
        if not marked.get("optionalhook"):
            raise UsageError(f"{_place(function, who)}: there is no hook {hook}{nearest(hook, HOOKS, most=1)}")
        return
    known = list(inspect.signature(HOOKS[hook]).parameters)
    odd = [word for word in inspect.signature(function).parameters if word not in known]
    if odd:
        takes = f"it may take {', '.join(known)}" if known else "it takes none"
        close = difflib.get_close_matches(odd[0], known, n=1, cutoff=0.5)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"{_place(function, who)}: the hook {hook} has no argument {odd[0]} ({takes}){meant}")


def _place(function: object, who: str) -> str:
    """File and line of a function, for people, and the plugin that it is of."""
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    if code is None:
        return who
    module = getattr(function, "__module__", "") or ""
    return f"{_shown(code.co_filename, module)}:{code.co_firstlineno}"


# --- providers and platforms -----------------------------------------------------------------------------------------


def check_fit(offered: object, protocol: type, who: str) -> None:
    """Raise `UsageError` for the first thing that an object lacks of a protocol: attribute, method or argument."""
    for name in _attributes(protocol):
        if not hasattr(offered, name):
            raise UsageError(f"{_whose(offered, who)} has no {name}{_instead(offered, name, protocol)}")
    for name, method in _methods(protocol).items():
        own = getattr(offered, name, None)
        if own is None:
            raise UsageError(f"{_whose(offered, who)} has no method {name}{_instead(offered, name, protocol)}")
        if not callable(own):
            raise UsageError(f"{_whose(offered, who)}: {name} is no method")
        _check_arguments(own, method, f"{who}: {name}", who)


def _check_arguments(own: Callable[..., Any], wanted: Callable[..., Any], name: str, who: str) -> None:
    asked = list(inspect.signature(wanted).parameters.values())[1:]
    try:
        signature = inspect.signature(own)
    except (TypeError, ValueError):  # made in C: only a call can tell
        return
    by_place = [None for argument in asked if argument.kind is not argument.KEYWORD_ONLY]
    by_name = {argument.name: None for argument in asked if argument.kind is argument.KEYWORD_ONLY}
    try:
        signature.bind(*by_place, **by_name)
    except TypeError as error:
        words = ", ".join(str(argument).partition(":")[0] for argument in asked)
        stars = words if not by_name else ", ".join([*(a.name for a in asked if a.name not in by_name), "*", *by_name])
        place = _place(own, who)
        where = f" ({place})" if place != who else ""
        raise UsageError(f"{name}{where} is called with ({stars}), and can't be: {error}") from None


def _attributes(protocol: type) -> Iterable[str]:
    return inspect.get_annotations(protocol)


def _methods(protocol: type) -> dict[str, Callable[..., Any]]:
    return {name: part for name, part in vars(protocol).items() if inspect.isfunction(part) and name[0] != "_"}


def _whose(offered: object, who: str) -> str:
    """Who, and in which file its class is."""
    kind = type(offered)
    codes = [part.__code__ for part in vars(kind).values() if inspect.isfunction(part)]
    if not codes or not _rooms(offered):
        return who
    return f"{who} ({_shown(codes[0].co_filename, kind.__module__)}, class {kind.__name__})"


def _instead(offered: object, name: str, protocol: type) -> str:
    """A clause that names what was perhaps meant: something of the object's own that is nothing of the protocol's."""
    known = {*_attributes(protocol), *_methods(protocol)}
    others = [word for word in dir(offered) if word[0] != "_" and word not in known]
    close = difflib.get_close_matches(name, others, n=1, cutoff=0.6)
    return f"; did you mean it by {close[0]}?" if close else ""


def nearest(name: str, known: Iterable[str], *, most: int = 2) -> str:
    """A clause that suggests the nearest known names, or lists them: "; did you mean …?"."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=most, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known: {', '.join(known)}" if known else ""
