"""Servers that outlive their run, and runs on them, as a user has them; on the provider `local`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sessions import LabSession
from tools import ALONE

from pytest_testlab.cli import main

SUPPORT = Path(__file__).parents[2] / "support"
BROKEN = """
    [run]
    command = "true"

    [[checks]]
    http = "/"
    contains = "something else"
"""
FINE = BROKEN.replace("something else", "memory")
SERVING = """
    [run]
    command = "exec python3 -m http.server $PORT"

    [[checks]]
    http = "/"
    contains = "something"
"""
SLOW = """
    import time
    from pathlib import Path

    HERE = Path(__file__).parent

    def test_slow(target):
        (HERE / "began").touch()
        deadline = time.monotonic() + 100
        while not (HERE / "go").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
"""
IMAGES = f"""
    import sys
    sys.path.insert(0, {str(SUPPORT)!r})

    from cloud import Cloud, FreezingCloud
    from pytest_testlab.hookspecs import hookimpl

    @hookimpl
    def testlab_providers():
        return {{"icy": lambda settings: FreezingCloud(Cloud())}}
"""
ON_ONE = """
    def test_it(target, testlab_image):
        assert testlab_image != "debian-12"

    def test_more(target):
        pass
"""


@pytest.fixture
def kept(lab: LabSession) -> Iterator[LabSession]:
    """A lab whose kept servers are ended with the test."""
    yield lab
    for server in servers():  # of this lab's own home: others' servers are none of this test's business
        command("servers", "release", server["name"], "--force")


def command(*arguments: str) -> tuple[int, str]:
    """Exit code and output of `testlab`, in this process: a new one would take longer to start than to answer."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        return main(arguments), out.getvalue()


def servers() -> list[dict[str, Any]]:
    code, said = command("servers", "--json")
    assert code == 0, said
    found: list[dict[str, Any]] = json.loads(said)
    return [server for server in found if server["provider"] == "local"]


def keep(lab: LabSession, *arguments: str, pool: int = 1) -> pytest.RunResult:
    return lab.run("--testlab-platform", "memory", *arguments, pool=pool, provider="local")


def test_the_server_of_a_failure_is_kept_and_can_be_run_on(kept: LabSession) -> None:
    """Another server takes its place; the printed line leads to the kept one; it runs what is asked, in no history."""
    kept.entry("alpha", BROKEN)
    kept.entry("beta", FINE)
    done = keep(kept, "--testlab-keep", "failed")
    assert kept.statuses() == {
        "alpha::install": "passed", "alpha::check": "failed", "beta::install": "passed", "beta::check": "passed",
    }  # fmt: skip
    (server,) = servers()
    assert (server["state"], server["kept"], server["test"]) == ("kept", "failed", "alpha/testlab.toml::check")
    assert 3.9 * 3600 < server["expires_in_s"] <= 4 * 3600
    (line,) = [line.strip() for line in done.outlines if line.strip().startswith("ssh ")]
    assert server["ssh"] == line
    typed = subprocess.run([*shlex.split(line), "echo", "here"], capture_output=True, check=False, timeout=60)
    assert typed.stdout == b"here\n", typed.stderr

    changed = command("diff", "--json")
    again = kept.testlab("run", "--on", server["name"], "beta")
    assert again.ret == 0, again.stdout.str()
    assert {result.target for result in kept.results(kept.on_server().run).values()} == {server["name"]}
    assert command("diff", "--json") == changed
    assert [found["state"] for found in servers()] == ["kept"]

    code, said = command("servers", "release", server["name"][:-1] + "7")
    assert (code, f"did you mean {server['name']}?" in said) == (2, True)
    assert command("servers", "extend", server["name"], "2h")[0] == 0
    assert servers()[0]["expires_in_s"] > 5.9 * 3600
    assert command("servers", "release", server["name"])[0] == 0
    assert servers() == []
    assert command("servers", "release", server["name"])[0] == 2
    assert not (Path(os.environ["TESTLAB_HOME"]) / "kept" / server["name"]).exists()


def test_a_deploy_replaces_the_kept_app_of_its_name(kept: LabSession) -> None:
    """What still answers there is removed by the next deploy of it; another app goes beside it."""
    served = kept.entry("alpha", SERVING)
    (served / "index.html").write_text("nothing\n")
    done = kept.run("--testlab-platform", "procfile", "--testlab-keep", "failed", provider="local")
    assert kept.statuses() == {"alpha::install": "passed", "alpha::check": "failed"}, done.stdout.str()
    (server,) = servers()

    (served / "index.html").write_text("something\n")
    (kept.entry("beta", SERVING) / "index.html").write_text("something\n")
    for name in ("beta", "alpha"):
        again = kept.testlab("run", "--on", server["name"], name)
        assert again.ret == 0, again.stdout.str()
    looked = kept.on_server().run
    (said,) = [line for line in again.outlines if "alpha · install" in line]
    assert "replaces alpha-" in said
    deploy = kept.section("alpha/testlab.toml::install", 1, "deploy", looked)
    assert b"replaces alpha-" in (deploy or b""), deploy
    code, said = command("why", "alpha::check")
    assert (code, said.startswith("failed"), looked in said) == (0, True, False), said


def test_one_run_at_a_time_is_let_onto_a_kept_server(kept: LabSession) -> None:
    """With `-x` on two targets just that of the failure is kept; who comes second is told in a line who is there."""
    kept.entry("alpha", BROKEN)
    kept.entry("beta", FINE)
    kept.module("test_slow.py", SLOW)
    done = keep(kept, "--testlab-keep", "failed", "-x", "alpha", "beta", pool=2)
    assert done.ret == 1
    (server,) = servers()
    assert (server["state"], server["test"]) == ("kept", "alpha/testlab.toml::check")
    assert [line.strip() for line in done.outlines if line.strip().startswith("ssh ")] == [server["ssh"]]

    first = subprocess.Popen(
        [sys.executable, "-m", "pytest", "--testlab-on", server["name"], "test_slow.py", *ALONE],
        cwd=kept.pytester.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    kept.wait_for("began", first)
    (used,) = servers()
    assert used["state"] == "in use"
    second = kept.testlab("run", "--on", server["name"], "alpha")
    assert second.ret == 6, second.stdout.str()
    lines = [line for line in second.outlines + second.errlines if f"server {server['name']} is in use by" in line]
    assert any(used["run"] in line for line in lines), second.stdout.str()
    (kept.pytester.path / "go").touch()
    output = first.communicate(timeout=60)[0]
    assert first.returncode == 0, output
    assert [found["state"] for found in servers()] == ["kept"]


def test_ctrl_c_ends_no_kept_server(kept: LabSession) -> None:
    """What failed before stays, and what was under way doesn't; the line that leads there is printed."""
    kept.entry("alpha", BROKEN)
    kept.module("test_slow.py", SLOW)
    kept.conftest(
        """
        from pathlib import Path

        def pytest_runtest_logreport(report):
            if report.failed:
                Path("failed").touch()
        """
    )
    process = kept.start(
        "--testlab-platform", "memory", "--testlab-keep", "failed", "alpha", "test_slow.py", pool=2, provider="local"
    )
    for name in ("began", "failed"):
        kept.wait_for(name, process)
    os.killpg(process.pid, signal.SIGINT)
    output = process.communicate(timeout=100)[0]
    assert process.returncode == 2, output
    (server,) = servers()
    assert (server["state"], server["test"]) == ("kept", "alpha/testlab.toml::check")
    assert server["ssh"] in output
    assert "Traceback" not in output


def test_with_two_images_the_failures_server_is_kept(lab: LabSession) -> None:
    """The other image's isn't, and its tests run all the same, also on the only target there is."""
    lab.conftest(IMAGES)
    lab.module("test_it.py", ON_ONE)
    images = ("--testlab-image", "debian-12,debian-13")
    done = lab.run(*images, "--testlab-platform", "memory", "--testlab-keep", "failed", provider="icy")
    assert done.ret == 1
    done.assert_outcomes(passed=3, failed=1)
    said = [line.strip() for line in done.outlines if line.strip().startswith("kept until")]
    assert len(said) == 1, said
    assert "(it::test_it[debian-12] failed)" in said[0]
