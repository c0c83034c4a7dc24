"""What a person sees of a session on a real terminal: the block, what is printed above it, and what stays behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from screens import Screen
from sessions import LabSession
from tools import ALONE

FAILS = '[build]\ncommands = ["exit 3"]\n\n[run]\ncommand = "true"\n'
SLEEPS = '[build]\ncommands = ["sleep 100"]\n\n[run]\ncommand = "true"\n'
CAUSE = "build-failure: alpha's build command ended with exit code 3"


@pytest.fixture(autouse=True)
def own_place(lab: LabSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that no other test takes a killed run from; and no CI, which would get lines and no block."""
    monkeypatch.setenv("TESTLAB_HOME", str(lab.pytester.path / "home"))
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)


def show(lab: LabSession, *arguments: str, pool: int = 1, columns: int = 100) -> Screen:
    program = ["-m", "pytest", "--testlab-provider", "memory", *ALONE, "--testlab-pool", str(pool), *arguments]
    return Screen(program, cwd=lab.pytester.path, environ=os.environ, columns=columns)


def bars(lines: list[str]) -> list[str]:
    return [line for line in lines if "─" in line and "/" in line]


@pytest.fixture(params=[1, 2])
def screen(lab: LabSession, request: pytest.FixtureRequest) -> Iterator[Screen]:
    """A run of an entry that fails, beside or before one that takes its time."""
    lab.entry("alpha", FAILS)
    lab.entry("beta", SLEEPS)
    with show(lab, pool=request.param) as shown:
        yield shown


def failed_and_goes_on(lines: list[str]) -> bool:
    cause = next((at for at, line in enumerate(lines) if CAUSE in line), None)
    runs = next((at for at, line in enumerate(lines) if "beta · install" in line and "build" in line), None)
    return cause is not None and runs is not None and cause < runs and len(bars(lines)) == 1 and "2/4" in lines[-1]


def test_failures_come_at_once_and_nothing_stays_behind(screen: Screen) -> None:
    """A failure's headline stands above the block while others run; after Ctrl-C there is no block, and the cursor."""
    screen.wait_for(failed_and_goes_on, "the failure above, what runs below")
    screen.interrupt()
    assert screen.ends() == 2
    lines = screen.lines()
    assert bars(lines) == []
    assert not screen.cursor_is_hidden
    assert any("stopping: what runs gets its bundle" in line for line in lines)
    assert sum(line.strip().startswith(CAUSE) for line in lines) == 1
    assert any("✗ alpha · install" in line and " build-failure: " in line for line in lines), "\n".join(lines)
    assert lines[-1].startswith("="), "\n".join(lines)


def test_the_block_fits_whatever_becomes_of_the_terminal(screen: Screen) -> None:
    """Made narrower, it is drawn anew within 40 columns, and nothing of the old one stays."""
    screen.wait_for(failed_and_goes_on, "the block")
    screen.resize(40, 20)
    narrow = screen.wait_for(
        lambda lines: len(bars(lines)) == 1 and any(line.rstrip().endswith(" s") and "beta" in line for line in lines),
        "the narrow block",
    )
    assert "2/4" in bars(narrow)[0]


def test_paused(lab: LabSession) -> None:
    """Ctrl-Z gives the shell a clean screen; after fg the block is there again, and the run goes on to its end."""
    lab.entry("alpha", FAILS)
    lab.entry("beta", SLEEPS)
    with show(lab, pool=2) as screen:
        screen.wait_for(failed_and_goes_on, "the block")
        screen.pause()
        lines = screen.wait_for(lambda lines: not bars(lines), "a clean screen")
        assert any(CAUSE in line for line in lines)
        assert not screen.cursor_is_hidden
        screen.go_on()
        screen.wait_for(failed_and_goes_on, "the block, drawn anew")
        screen.interrupt()
        assert screen.ends() == 2
        assert bars(screen.lines()) == []


def test_killed(screen: Screen) -> None:
    """After kill -9 nothing of the block is left, and a shell's prompt finds room."""
    screen.wait_for(failed_and_goes_on, "the block")
    os.kill(screen.process.pid, signal.SIGKILL)
    lines = screen.wait_for(lambda lines: not bars(lines), "a clean screen")
    assert any(CAUSE in line for line in lines)


@pytest.mark.parametrize(("arguments", "environ"), [(["-s"], {}), ([], {"TERM": "dumb"}), ([], {"CI": "true"})])
def test_no_block(lab: LabSession, arguments: list[str], environ: dict[str, str]) -> None:
    """Under -s, on a dumb terminal and in CI nothing is ever rewritten; each test has its line."""
    lab.entry("alpha")
    program = ["-m", "pytest", "--testlab-provider", "memory", *ALONE, *arguments]
    with Screen(program, cwd=lab.pytester.path, environ=os.environ, more=environ) as screen:
        assert screen.ends() == 0
    assert b"\x1b[J" not in screen.raw
    assert sum("✓ alpha · " in line for line in screen.lines()) == 2


def test_quiet_says_where_to_read_on(lab: LabSession) -> None:
    """-q leaves of a failure its class and cause; the run's id and the command that tells more come last."""
    lab.entry("alpha", FAILS)
    result = lab.run("-q")
    result.stdout.fnmatch_lines(
        [
            "  1/2  ? alpha * build-failure",
            f"      {CAUSE}*",
            f"  run {lab.latest().run} ? *",
            "  testlab why alpha::install *",
        ]
    )
    assert "newly failing" not in result.stdout.str()
    assert lab.latest().run not in lab.run("-qq").stdout.str()


def test_pytests_own_summary(lab: LabSession) -> None:
    """Failures aren't listed twice; `-rA` has pytest list all results, by its own words."""
    lab.entry("alpha", '[run]\ncommand = "true"\n\n[[checks]]\ncommand = "false"\n')
    assert "short test summary" not in lab.run().stdout.str()
    lab.run("-rA").stdout.fnmatch_lines_random(["FAILED alpha*::check - check-failed*", "PASSED alpha*::install"])


@pytest.mark.parametrize("pool", [1, 2])
def test_one_test_is_followed(lab: LabSession, monkeypatch: pytest.MonkeyPatch, pool: int) -> None:
    """--testlab-follow ENTRY prints its output, masked, and no other's; also where there is no terminal."""
    monkeypatch.setenv("TESTLAB_SECRET_ALPHA_ADMIN", "correct-horse")
    secret = '[run]\ncommand = "true"\n\n[env]\nPASSWORD = { secret = "alpha-admin" }\n\n'
    check = '[[checks]]\nname = "speaks"\ncommand = "echo password correct-horse of NAME"\n'
    lab.entry("alpha", secret + check.replace("NAME", "alpha"))
    lab.entry("beta", secret + check.replace("NAME", "beta"))
    result = lab.run("--testlab-follow", "alpha", "-q", pool=pool)
    result.stdout.fnmatch_lines(
        [
            "  ??:??:??  install http ? GET / * 200 in *",
            "  ??:??:??  check check ? password [[]redacted[]] of alpha",
            f"  run {lab.latest().run} ? * ? cli/*",
        ]
    )
    assert "correct-horse" not in str(result.stdout) + str(result.stderr)
    assert "of beta" not in str(result.stdout)


@pytest.mark.parametrize("pool", [1, 2])
def test_nobody_to_follow(lab: LabSession, pool: int) -> None:
    """A name that no test has is one line with the nearest, and exit code 4; nothing is run."""
    lab.entry("alpha")
    result = lab.run("--testlab-follow", "alhpa", pool=pool)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --testlab-follow: no test of this run is called 'alhpa'; did you mean alpha*"])
    assert "INTERNALERROR" not in str(result.stdout) + str(result.stderr)


def test_servers_that_take_long_to_go_are_spoken_of(lab: LabSession) -> None:
    """Also where nothing is a terminal: somebody waits for the end."""
    lab.conftest(
        """
        import time

        from pytest_testlab.hookspecs import hookimpl
        from pytest_testlab.testing import MemoryProvider

        class Slow(MemoryProvider):
            name = "slow"

            def destroy(self, server):
                time.sleep(4)
                super().destroy(server)

        @hookimpl
        def testlab_providers():
            return {"slow": lambda settings: Slow()}
        """
    )
    lab.entry("alpha")
    done = lab.run(provider="slow")
    assert done.ret == 0
    assert "  giving 1 server back" in done.outlines
