"""The pytest plugin where no target is needed: inert, collecting, and the user's mistakes."""

from __future__ import annotations

import subprocess
import sys

import pytest

ENTRY = """
[app]
name = "{name}"
priority = "{priority}"
tags = ["{tag}"]

[run]
command = "true"

[[checks]]
command = "true"
"""


def write_entry(
    pytester: pytest.Pytester, name: str, priority: str = "P1", tag: str = "web", text: str = ENTRY
) -> None:
    folder = pytester.mkdir(name)
    (folder / "testlab.toml").write_text(text.format(name=name, priority=priority, tag=tag))


def test_inert_unless_asked_for(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a --testlab-* option no entry is collected, no mark is registered, no file written."""
    write_entry(pytester, "alpha")
    pytester.makepyfile("def test_it(request): assert not request.config.pluginmanager.hasplugin('testlab-catalog')")
    home = pytester.mkdir("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TESTLAB_HOME", str(home / "lab"))
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    assert list(home.iterdir()) == []


def test_the_plugin_imports_lightly(pytester: pytest.Pytester) -> None:
    """Loaded in every pytest of the environment, it brings nothing of the engine with it."""
    pytester.makepyfile(
        """
        import sys

        def test_it():
            heavy = {"asyncssh", "sqlalchemy", "psycopg", "alembic", "pytest_testlab.session", "pytest_testlab.model"}
            assert not heavy & set(sys.modules)
            assert "pytest_testlab.plugin" in sys.modules
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_plugins_of_the_lab_import_lightly() -> None:
    """Every session and each of its workers loads them all: what only one of their commands needs waits for it."""
    code = "import sys; from pytest_testlab.plugins import plugin_manager; plugin_manager(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "testlab_server.hooks" in done.stdout.split()
    assert not {"asyncssh", "asyncio", "sqlalchemy", "psycopg", "alembic", "flask", "hcloud"} & set(done.stdout.split())


def test_a_worker_imports_lightly() -> None:
    """There are many of them: what only real targets and the store need is not loaded to run a stage."""
    code = "import sys, pytest_testlab.distribution.worker, pytest_testlab.catalog.stages as _; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"asyncssh", "asyncio", "sqlalchemy", "psycopg", "alembic"} & set(done.stdout.split())


def test_it_can_be_turned_off(pytester: pytest.Pytester) -> None:
    """`-p no:testlab` takes the options away too."""
    result = pytester.runpytest_subprocess("-p", "no:testlab", "--testlab-pool", "1")
    result.stderr.fnmatch_lines(["*unrecognized arguments: --testlab-pool*"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_an_entry_is_two_tests(pytester: pytest.Pytester) -> None:
    """`--co` lists them, and touches neither store nor target."""
    write_entry(pytester, "alpha")
    result = pytester.runpytest_subprocess("--testlab-pool", "1", "--co", "-q")
    result.stdout.fnmatch_lines(["alpha/testlab.toml::install", "alpha/testlab.toml::check", "*2 tests collected*"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-k", "alpha"], ["alpha/testlab.toml::install", "alpha/testlab.toml::check"]),
        (["-k", "calendar"], ["beta/testlab.toml::install", "beta/testlab.toml::check"]),
        (["-m", "P0 and check"], ["beta/testlab.toml::check"]),
        (["--testlab-priority", "P0"], ["beta/testlab.toml::install", "beta/testlab.toml::check"]),
        (["--testlab-suite", "demos"], []),
        (["alpha/testlab.toml::check"], ["alpha/testlab.toml::check"]),
    ],
)
def test_selection(pytester: pytest.Pytester, arguments: list[str], expected: list[str]) -> None:
    """pytest's own selection works on names, tags, suites, priorities and stages; so do the lab's two filters."""
    write_entry(pytester, "alpha")
    write_entry(pytester, "beta", priority="P0", tag="calendar")
    result = pytester.runpytest_subprocess("--strict-markers", "--testlab-pool", "1", "--co", "-q", *arguments)
    assert [line for line in result.outlines if "::" in line] == expected


def test_a_broken_catalog_says_everything_at_once(pytester: pytest.Pytester) -> None:
    """Each problem of each file is a line with file, line and key, and nothing is treated as absent."""
    write_entry(pytester, "alpha", text='[app]\nname = "alpha"\nprioritty = "P1"\nowner = 3\n\n[run]\ncommand = "x"\n')
    write_entry(pytester, "beta")
    write_entry(pytester, "gamma", text=ENTRY.replace("{name}", "beta"))
    result = pytester.runpytest_subprocess("--testlab-pool", "1", "--co", "-q")
    result.stdout.fnmatch_lines(
        [
            '*alpha/testlab.toml:3: app.prioritty: unknown key*did you mean "priority"?*',
            "*alpha/testlab.toml:4: app.owner: *",
            '*gamma/testlab.toml:*"beta" is already the name of *',
        ]
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--testlab-pool", "0"], "--testlab-pool: '0' is not a pool size; allowed: 1 to 64"),
        (["--testlab-pool", "2", "--pdb"], "--pdb needs the tests in this process: use it with --testlab-pool 1"),
        (["--testlab-pool", "2", "-n", "2"], "-n and --tx don't go with --testlab-pool*"),
        (["--testlab-pool", "2", "-p", "no:xdist"], "--testlab-pool above 1 needs pytest-xdist*"),
    ],
)
def test_mistakes_are_one_line(pytester: pytest.Pytester, arguments: list[str], words: str) -> None:
    """What doesn't go together is a usage error of one line, exit code 4, without a traceback."""
    result = pytester.runpytest_subprocess(*arguments)
    result.stderr.fnmatch_lines([f"ERROR: {words}"])
    result.stderr.no_fnmatch_line("*Traceback*")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_misspelt_hook_is_one_line(pytester: pytest.Pytester) -> None:
    """A conftest.py's mistake is the user's to mend: exit code 4, where it stands, and no traceback."""
    write_entry(pytester, "alpha")
    pytester.makeconftest(
        "from pytest_testlab.hookspecs import hookimpl\n\n@hookimpl\ndef testlab_provider():\n    return {}\n"
    )
    result = pytester.runpytest_subprocess("--testlab-pool", "1", "--testlab-provider", "memory")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    [line] = [line for line in result.errlines if line]
    assert line == "ERROR: conftest.py:3: there is no hook testlab_provider; did you mean testlab_providers?"
