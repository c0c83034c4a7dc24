"""Test functions that ask for the lab's fixtures are tests of the catalog, and pytest's own all the same."""

from __future__ import annotations

import re

import pytest
from sessions import LabSession

OUTCOMES = """
    import threading
    from pathlib import Path

    import pytest
    from pytest_testlab.errors import InfraError

    pytestmark = pytest.mark.testlab(owner="ops")

    @pytest.mark.testlab(app="alpha")
    def test_good(app, http):
        assert http.get("/").text == "memory"
        assert app.host in app.url

    def test_wrong(target):
        assert target.run("echo 2").text == "3\\n"

    def test_raises(target):
        {}["nothing"]

    def test_skips(target):
        pytest.skip("no need today")

    @pytest.mark.skip(reason="not yet")
    def test_marked(target):
        pass

    @pytest.mark.xfail(reason="not built yet", raises=AssertionError)
    def test_known(target):
        assert target.run("false").exit_code == 0

    @pytest.mark.xfail(strict=True, reason="mended meanwhile")
    def test_mended(target):
        pass

    def test_given_up(target):
        pytest.fail("it is of no use")

    @pytest.fixture
    def leaves_a_mess(target):
        yield
        assert target.run("echo dirty").text == "clean\\n"

    def test_with_a_fixture(leaves_a_mess):
        pass

    @pytest.fixture
    def impossible(target):
        raise OSError("no such thing")

    def test_without_a_fixture(impossible):
        pass

    @pytest.mark.testlab(timeout="1s")
    def test_endless(target):
        threading.Event().wait()

    @pytest.mark.xfail
    def test_lost(target):
        if not Path("once").exists():
            Path("once").touch()
            raise InfraError("the line was lost")

    def test_beside(apps):
        apps("alpha", "beta")
"""
EXPECTED = {
    "good": ("passed", None, None),
    "wrong": ("failed", "check-failed", "check-failed: test_door.py:16: assert '2\\n' == '3\\n'"),
    "raises": ("failed", "indeterminate", "indeterminate: test_door.py:19 raised KeyError: 'nothing'"),
    "skips": ("skipped", None, "no need today"),
    "marked": ("skipped", None, "not yet"),
    "known": ("passed", "check-failed", "failed as expected: not built yet"),
    "mended": ("failed", None, "[XPASS(strict)] mended meanwhile"),
    "given_up": ("failed", "check-failed", "check-failed: test_door.py:37: it is of no use"),
    "with_a_fixture": ("failed", "check-failed", "check-failed: test_door.py:42: assert 'dirty\\n' == 'clean\\n'"),
    "without_a_fixture": ("failed", "indeterminate", "indeterminate: test_door.py:49 raised OSError: no such thing"),
    "endless": ("failed", "timeout", "timeout: no end of the test within 1 s"),
    "lost": ("flaky", None, "passed on attempt 2"),
    "beside": ("failed", "build-failure", "build-failure: beta's build command ended with exit code 3: exit 3"),
}
BROKEN = '[build]\ncommands = ["exit 3"]\n\n[run]\ncommand = "true"\n'


@pytest.mark.parametrize("pool", [1, 2])
def test_every_outcome_is_recorded(lab: LabSession, pool: int) -> None:
    """Each has its status, its class by evidence, its reason and a bundle; pytest counts them the same way."""
    lab.entry("alpha")
    lab.entry("beta", BROKEN)
    lab.module("test_door.py", OUTCOMES)
    result = lab.run("test_door.py", pool=pool)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*= 8 failed, 2 passed, 2 skipped, 1 rerun, 1 flaky in *"])
    found = {name.partition("::test_")[2]: result for name, result in lab.results().items()}
    told = {
        name: (it.status, it.failure_class, it.reason or (it.headline[0] if it.headline else None))
        for name, it in found.items()
    }
    assert told == EXPECTED
    assert {(it.suite, it.entry, it.owner) for it in found.values()} == {("platform", "door", "ops")}
    sections = {name: {part.name for part in lab.attempt(f"test_door.py::test_{name}", 1).sections} for name in found}
    assert all(sections.values())
    assert {"app", "proxy-probe", "app-beta", "proxy-probe-beta"} <= sections["beside"]


def test_the_bundle_holds_what_the_test_saw(lab: LabSession) -> None:
    """The traceback as pytest shows it, commands and requests with what came back, and no secret of the app's."""
    lab.entry("alpha", '[run]\ncommand = "true"\n\n[env]\nKEY = { generate = 24 }\n')
    lab.module(
        "test_door.py",
        """
        import pytest

        @pytest.mark.testlab(app="alpha")
        def test_it(app, http, target):
            key = app.deployment.env["KEY"]
            open("key", "w").write(key)
            print("printed", key)
            assert target.run("echo hello").exit_code == 0
            assert app.env == ("KEY",)
            answer = http.get("/page")
            assert answer.status == key
        """,
    )
    result = lab.run("-l", "test_door.py")
    key = (lab.pytester.path / "key").read_text()
    said = "assert 200 == '[redacted]'"
    result.stdout.fnmatch_lines([">       assert answer.status == key", "printed [[]redacted]"])
    headline = lab.results()["test_door.py::test_it"].headline
    assert headline[:2] == (f"check-failed: test_door.py:12: {said}", "rule: check-failed/assertion")
    assert headline[2].startswith("+ where 200 = <200")
    attempt = lab.attempt("test_door.py::test_it", 1)
    told = {
        part.name: (lab.section("test_door.py::test_it", 1, part.name) or b"").decode() for part in attempt.sections
    }
    assert f">       assert answer.status == key\nE       AssertionError: {said}\n" in told["traceback"]
    assert "catalog/functions.py" not in told["traceback"], "no frame of the lab's"
    assert re.fullmatch(r"\$ echo hello\n  hello\nexit code 0 after .*\n", told["target"])
    assert "GET /page → 200" in told["http"]
    assert re.fullmatch(r"alpha-\w+\.testlab\.internal is remembered, not run\n", told["app"])
    assert len(key) == 24
    assert key not in "\n".join(result.outlines) + str(told) + str(attempt)


def test_the_debugger_goes_to_the_tests_own_line(lab: LabSession) -> None:
    """--pdb with one target: the frame is the test's, its app stands, and the outcome is recorded."""
    lab.entry("alpha")
    lab.module(
        "test_door.py",
        """
        import pytest

        @pytest.mark.testlab(app="alpha")
        def test_it(http):
            here = "this very frame"
            assert http.get("/").status == 500
        """,
    )
    result = lab.run("--pdb", "test_door.py", stdin=b"p here\np http.get('/').status\nc\n")
    result.stdout.fnmatch_lines(["*> *test_door.py(7)test_it()", "*'this very frame'", "*200"])
    assert lab.statuses() == {"door::test_it": "failed"}


@pytest.mark.parametrize("pool", [1, 2])
def test_ordinary_tests_stay_pytests_own(lab: LabSession, pool: int) -> None:
    """They run once, beside the others, and history knows nothing of them, nor of one that kills its worker."""
    lab.module(
        "test_plain.py",
        f"""
        import os
        import pytest

        def test_of_the_lab(target):
            pass

        @pytest.mark.parametrize("n", range(5))
        def test_once(n):
            open(f"ran-{{n}}", "x")

        def test_fails():
            with open("tried", "a") as file:
                file.write("x")
            {"assert False" if pool == 1 else "os._exit(3)"}
        """,
    )
    result = lab.run("test_plain.py", pool=pool)
    result.assert_outcomes(passed=6, failed=1)
    assert result.ret == 1
    assert (lab.pytester.path / "tried").read_text() == "x"
    assert lab.statuses() == {"plain::test_of_the_lab": "passed"}


def test_alone_is_before_and_after_a_blanking(lab: LabSession) -> None:
    """A test, or the entry of one, that wants a target for itself gets a new epoch, as does whoever comes next.

    The first failure ends the session where that is asked for, and what did not run is counted as such.
    """
    lab.entry("alpha", '[app]\nname = "alpha"\nalone = true\n\n[run]\ncommand = "true"\n')
    lab.module(
        "test_door.py",
        """
        import pytest

        @pytest.fixture(autouse=True)
        def noted(request, target):
            with open("epochs", "a") as file:
                file.write(f"{request.node.name[-1]}{target.server.epoch} ")

        def test_a():
            pass

        def test_b():
            pass

        @pytest.mark.testlab(alone=True)
        def test_c():
            pass

        def test_d():
            pass

        @pytest.mark.testlab(app="alpha")
        def test_e(app):
            assert False

        def test_f():
            pass
        """,
    )
    assert lab.run("-x", "test_door.py").ret == 1
    assert (lab.pytester.path / "epochs").read_text() == "a0 b0 c1 d2 e3 "
    assert [status[0] for status in lab.statuses().values()] == ["p", "p", "p", "p", "f", "n"]
