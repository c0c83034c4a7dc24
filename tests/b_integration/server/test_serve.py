"""`testlab serve`: what it prints, how it ends, and what it says when it can't begin."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import pytest
import warm
from pages import NAVIGATION, Lab, serving

from pytest_testlab.session.show.summary import page_of


def _opens(link: str) -> bool:
    """Whether a person who follows it is let in."""
    asked = urllib.request.Request(link, headers=NAVIGATION)
    try:
        with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(asked, timeout=20) as answer:
            return "/login" not in answer.url
    except urllib.error.HTTPError:
        return False


def serve(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One that ends by itself."""
    return warm.testlab("serve", *arguments, env=lab.environ, timeout_s=60)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(lab: Lab, ending: signal.Signals) -> None:
    """Ctrl-C, or a service manager's stop: exit 0, and no traceback."""
    with serving(lab) as served:
        served.process.send_signal(ending)
        assert served.process.wait(60) == 0
        assert served.process.stdout is not None
        assert "Traceback" not in served.process.stdout.read()


def test_a_taken_port_is_one_line(lab: Lab) -> None:
    """Exit 2, one line, and a port to try instead."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = serve(lab, "--port", str(port))
    assert ended.returncode == 2
    assert (
        ended.stderr == f"testlab: port {port} of 127.0.0.1 is taken; choose another: testlab serve --port {port + 1}\n"
    )
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "say"),
    [
        (["--host", "no.such.host.invalid"], "can't listen on no.such.host.invalid"),
        (["--url", "lab.example.org"], "allowed: http[s]://name[:port]"),
        (["--port", "99999"], "is not a port; allowed: 0 to 65535"),
    ],
)
def test_mistakes_are_one_line(lab: Lab, arguments: list[str], say: str) -> None:
    """Whatever the user mistyped is named, without a traceback."""
    ended = serve(lab, *arguments)
    assert ended.returncode == 2
    assert say in ended.stderr
    assert "Traceback" not in ended.stderr


def test_enter_makes_another_link(lab: Lab) -> None:
    """On a terminal, each Enter prints a fresh link."""
    ours, theirs = pty.openpty()
    program = [*warm.TESTLAB, "serve", "--port", "0"]
    process = warm.Popen(program, env=lab.environ, stdin=theirs, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        links: list[str] = []
        for line in process.stdout:
            links += re.findall(r"http://\S+/login/\S+", line)
            if line.startswith("Enter makes"):
                os.write(ours, b"\n")
            if len(links) == 2:
                break
        assert len(set(links)) == 2
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()
        os.close(ours)
        os.close(theirs)
    assert process.returncode == 0


def test_a_second_login_link(lab: Lab) -> None:
    """`testlab serve --link` prints one of the server that runs: it opens once, and so does the first one still."""

    def ask(*more: str) -> subprocess.CompletedProcess[str]:
        return serve(lab, "--link", *more)

    assert ask().returncode == 2
    assert "testlab: no server of the lab in" in ask().stderr
    with serving(lab) as served:
        printed = ask()
        assert (printed.returncode, printed.stderr) == (0, "")
        link = printed.stdout.strip()
        assert link.startswith(f"{served.origin}/login/")
        assert ask("--port", "1").returncode == 2
        assert _opens(link)
        assert not _opens(link)
        assert _opens(served.link)


def test_the_secret_never_shows(lab: Lab) -> None:
    """Neither the database's URL nor the server's secret is printed, or stands in the process list."""
    with serving(lab, start=warm.cold) as served:
        with open(f"/proc/{served.process.pid}/cmdline", "rb") as file:  # noqa: PTH123
            assert lab.store.url.encode() not in file.read()
        served.process.terminate()
        served.process.wait(60)
        assert served.process.stdout is not None
        assert lab.store.url not in served.process.stdout.read()


def test_a_run_names_its_page(lab: Lab) -> None:
    """While a server runs, a session's summary can name the run's page; once it has ended, none is named."""
    with serving(lab) as served:
        named = page_of(lab.store.home, "some-run")
        assert named == f"{served.origin}/runs/some-run"
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
    assert page_of(lab.store.home, "some-run") is None


def test_each_server_has_a_note_of_its_own(lab: Lab) -> None:
    """The one that started last names the pages; once it has ended, the other one does again."""
    with serving(lab) as first:
        with serving(lab) as second:
            assert page_of(lab.store.home, "some-run") == f"{second.origin}/runs/some-run"
            second.process.send_signal(signal.SIGTERM)
            assert second.process.wait(60) == 0
        assert page_of(lab.store.home, "some-run") == f"{first.origin}/runs/some-run"


def test_a_lab_that_is_served_already(lab: Lab) -> None:
    """On the port of its own server the error says where the lab is, rather than that the port is taken."""
    with serving(lab) as served:
        port = served.origin.rpartition(":")[2]
        ended = serve(lab, "--port", port)
        assert page_of(lab.store.home, "some-run") == f"{served.origin}/runs/some-run"
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"testlab: this lab is served already, at {served.origin}; "), ended.stderr
    assert ended.stderr.count("\n") == 1
