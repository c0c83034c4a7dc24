"""What plugins bring is held against the seams: what is wrong is one line with the place and the way out."""

from __future__ import annotations

import importlib.util
import textwrap
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_testlab.errors import InfraError, UsageError
from pytest_testlab.options import Settings
from pytest_testlab.plugins import made, plugin_manager
from pytest_testlab.protocols import Platform, Provider
from pytest_testlab.seams import blame, check_fit

HEAD = "from pytest_testlab.hookspecs import hookimpl\n"
PROVIDER = """
class Own:
    name, default_platform, blank_between_units = "own", "memory", False
    def create(self, request): raise KeyError("no such {brace}")
    def blank(self, server): return server
    def destroy(self, server): pass
    def owned(self): return []
    def console(self, server): return None
    def connect(self, server): raise OSError("no way")

@hookimpl
def testlab_providers():
    return {"own": lambda settings: Own()}
"""


@pytest.fixture
def conftest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a conftest.py of a text, in the working directory, and returns it as pytest would have imported it."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> ModuleType:
        file = tmp_path / "conftest.py"
        file.write_text(HEAD + textwrap.dedent(text))
        spec = importlib.util.spec_from_file_location("conftest", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return write


def _said(plugin: object) -> str:
    with pytest.raises(UsageError) as caught:
        made(plugin_manager([plugin]), "provider", "own", Settings())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "say"),
    [
        (
            "@hookimpl\ndef testlab_provider(): pass",
            "conftest.py:2: there is no hook testlab_provider; did you mean testlab_providers?",
        ),
        (
            "@hookimpl\ndef testlab_sections(target, deploymnt): pass",
            "conftest.py:2: the hook testlab_sections has no argument deploymnt (it may take target, deployment); "
            "did you mean deployment?",
        ),
        (
            "@hookimpl\ndef testlab_platforms(settings): pass",
            "conftest.py:2: the hook testlab_platforms has no argument settings (it takes none)",
        ),
        (
            "def testlab_providers(): return {}",
            "conftest.py:2: testlab_providers is no hook without @hookimpl above it "
            "(from pytest_testlab.hookspecs import hookimpl)",
        ),
        (
            "@hookimpl\ndef testlab_providers():\n    return {}['x']",
            "a plugin's testlab_providers failed: KeyError: 'x' (conftest.py:4, in testlab_providers)",
        ),
        (
            "def make(settings):\n    raise ValueError('a line\\nand more')\n"
            "@hookimpl\ndef testlab_providers(): return {'own': make}",
            "the provider own failed: ValueError: a line and more (conftest.py:3, in make)",
        ),
    ],
)
def test_a_hook_that_is_wrong_is_one_line(conftest: Any, text: str, say: str) -> None:
    """With file and line, and the nearest name; it is noticed before anything is started."""
    assert _said(conftest(text)) == say


@pytest.mark.parametrize(
    ("good", "bad", "say"),
    [
        (
            "def owned",
            "def ownd",
            "the provider own (conftest.py, class Own) has no method owned; did you mean it by ownd?",
        ),
        (
            "def console(self, server): return None",
            "console = 3",
            "the provider own (conftest.py, class Own): console is no method",
        ),
        (
            "def blank(self, server)",
            "def blank(self)",
            "the provider own: blank (conftest.py:6) is called with (server), and can't be: "
            "too many positional arguments",
        ),
        (
            "def destroy(self, server)",
            "def destroy(self, server, force)",
            "the provider own: destroy (conftest.py:7) is called with (server), and can't be: "
            "missing a required argument: 'force'",
        ),
        (
            'name, default_platform, blank_between_units = "own", "memory", False',
            'name, default_platform, blank_betwen_units = "own", "memory", False',
            "the provider own (conftest.py, class Own) has no blank_between_units; "
            "did you mean it by blank_betwen_units?",
        ),
    ],
)
def test_a_provider_that_does_not_fit_is_one_line(conftest: Any, good: str, bad: str, say: str) -> None:
    """Its class and the method, before a server is made and not hours later, when the method is first needed."""
    assert good in PROVIDER
    assert _said(conftest(PROVIDER.replace(good, bad))) == say


def test_more_than_is_asked_for_fits(conftest: Any) -> None:
    """Arguments with defaults, and anything by stars."""
    text = PROVIDER.replace("def blank(self, server)", "def blank(self, *anything, **named)")
    text = text.replace("def destroy(self, server)", "def destroy(self, server, force=False)")
    own = made(plugin_manager([conftest(text)]), "provider", "own", Settings())
    assert own.name == "own"


def test_ours_fit() -> None:
    """Each provider and platform of the lab's own, by the same check."""
    manager = plugin_manager()
    for name in ("memory", "local"):
        made(manager, "provider", name, Settings())
    for name in ("memory", "procfile"):
        made(manager, "platform", name, Settings())


def test_the_check_is_cheap() -> None:
    """It is on the path of every session: a hundred of them in well under a second."""
    manager = plugin_manager()
    provider = made(manager, "provider", "memory", Settings())
    platform = made(manager, "platform", "memory", Settings())
    began = time.process_time()
    for _ in range(100):
        check_fit(provider, Provider, "it")
        check_fit(platform, Platform, "it")
    assert time.process_time() - began < 1


def test_what_a_plugin_raises_has_a_place(conftest: Any) -> None:
    """The innermost line of the plugin's own code, also where something that it called raised."""
    text = PROVIDER.replace('raise KeyError("no such {brace}")', 'return __import__("json").loads("{")')
    own = made(plugin_manager([conftest(text)]), "provider", "own", Settings())
    with pytest.raises(ValueError, match="Expecting property name") as caught:
        own.create(None)
    said = blame("the provider own", caught.value, own)
    assert said.startswith("the provider own failed: JSONDecodeError: Expecting property name")
    assert said.endswith(" (conftest.py:5, in create)")


def test_what_is_said_on_purpose_stands_alone() -> None:
    """The lab's own errors are written for people."""
    assert blame("the provider own", InfraError("no quota is left"), object()) == "no quota is left"
