"""Every kind of check, passing and failing, in exact words, against a real app behind a real front door."""

from __future__ import annotations

import random
import re
import time
from dataclasses import replace
from pathlib import PurePosixPath

import psutil
import pytest

from pytest_testlab.catalog.checks import ask_as_a_stranger, run_checks, wait_ready
from pytest_testlab.errors import CheckFailed, DeadlinePassed, DeployFailed, NotReady
from pytest_testlab.model import CommandCheck, HttpCheck, Ready, ScriptCheck

WITHIN_S = 1.0


@pytest.fixture
def bench(bench, app):
    """The shared target, with one app that most of these tests ask."""
    bench.app = app
    return bench


def _run(bench, *checks, left_s=30.0, **fields):
    """Run checks on the shared app, or on one of its own where the test wants it different."""
    if fields:
        deployment = bench.deploy(checks=checks, **fields)
        bench.get(deployment)
    else:
        entry = replace(bench.app.app.entry, checks=checks, file=bench.folder / "testlab.toml")
        deployment = replace(bench.app, app=replace(bench.app.app, entry=entry))
    run_checks(bench.target, bench.platform, deployment, bench.observe, deadline=time.monotonic() + left_s)


def _fails(bench, *checks, **fields):
    with pytest.raises(CheckFailed) as failure:
        _run(bench, *checks, **fields)
    return failure.value


def _transcript(bench, name):
    return next((s.content.decode() for s in bench.observe.sections() if s.name == name), "")


def _http(path="/", **fields):
    return HttpCheck(**{"name": "page", "path": path, "within_s": WITHIN_S} | fields)


def _script(bench, text, mode=0o644, name="check.py"):
    file = bench.folder / name
    file.write_text(text)
    file.chmod(mode)
    return ScriptCheck(name="script", script=PurePosixPath(name))


# --- http ---


def test_http_that_holds(bench):
    """Status, text, headers and JSON of one answer; each request is taken down, each check is a timed phase."""
    _run(
        bench,
        _http(status=200, contains="by radicale", headers={"Content-Type": "text/plain"}),
        _http("/json", name="json", json={"a.b.0": 1.0, "a.b.1": True, "a.b.2": None, "a": {"b": [1, True, None]}}),
        _http("/fail", name="even an error", status=500, contains="hello"),
    )
    assert {"check: page", "check: json", "check: even an error"} <= set(bench.observe.phases)
    assert "GET / → 200 in 0." in _transcript(bench, "http")
    assert "  | hello from " in _transcript(bench, "http")
    assert "check 2 (json): passed in 0." in _transcript(bench, "check")


@pytest.mark.parametrize(
    ("check", "say", "status"),
    [
        (_http(status=404), r"expected status 404, got status 200: 'hello from \w+ by radicale'", 200),
        (_http("/fail", contains="hello"), r"expected a status below 400, got status 500: 'hello from .*'", 500),
        (_http(contains="Nope"), r"expected a body that contains 'Nope', got 'hello from \w+ by radicale'", 200),
        (
            _http(headers={"Content-Type": "html"}),
            r"expected a header Content-Type that contains 'html', got 'text/plain; charset=utf-8'",
            200,
        ),
        (_http(headers={"X-Nope": "a"}), r"expected a header X-Nope that contains 'a', got no such header", 200),
        (_http(json={"a": 1}), r"expected a body that is JSON, got 'hello from \w+ by radicale'", 200),
        (_http("/json", json={"a.b.0": True}), r"expected JSON with a\.b\.0 = true, got 1", 200),
        (_http("/json", json={"a.b.1": 1}), r"expected JSON with a\.b\.1 = 1, got true", 200),
        (_http("/json", json={"a.c": 1}), r"expected JSON with a\.c = 1, got nothing there", 200),
    ],
)
def test_http_that_does_not_hold(bench, check, say, status):
    """What was expected and what was got stand in one line, with the status as a field."""
    failure = _fails(bench, check)
    assert re.fullmatch(rf"check 1 \(page\): {say}", str(failure)), str(failure)
    assert (failure.step, failure.name, failure.status, failure.deadline_s) == (1, "page", status, None)


def test_http_without_an_answer(bench):
    """An app that never answers: the check ends at its time, and says that it was the time."""
    started = time.monotonic()
    failure = _fails(bench, _http("/hang", contains="x", within_s=1.0))
    assert str(failure) == "check 1 (page): expected an answer, got no answer (timeout)"
    assert (failure.status, failure.deadline_s) == (None, 1.0)
    assert time.monotonic() - started < 30


def test_http_is_asked_until_it_holds(bench):
    """A right answer that comes a little later is a pass, well before the check's time is up."""
    command = "export NAME=early; python3 app.py $PORT & p=$!; sleep 1; kill $p; NAME=late; exec python3 app.py $PORT"
    started = time.monotonic()
    _run(bench, _http(contains="by late", within_s=60.0), command=command)
    assert time.monotonic() - started < 30
    shown = _transcript(bench, "http")
    assert shown.count("by early") == 1, "a repeated answer is shown once"


def test_what_changes_something_is_sent_once(bench):
    """A POST that reached the app isn't sent again, whatever it answered."""
    failure = _fails(bench, _http(method="POST", contains="x", within_s=3.0))
    assert failure.status == 501
    assert _transcript(bench, "http").count("POST / → 501") == 1


def test_the_first_failure_ends_them(bench):
    """Checks run in order, and none after one that failed."""
    failure = _fails(bench, _http(), CommandCheck(name="two", command="exit 1"), CommandCheck(name="3", command="x"))
    assert failure.step == 2
    assert "check: 3" not in bench.observe.phases


def test_no_time_left(bench):
    """When the test's own time is up before a check could begin, that is a passed deadline."""
    with pytest.raises(DeadlinePassed, match=r"^no time left for check 1 \(page\) within 600 s$") as late:
        _run(bench, _http(), left_s=-1)
    assert late.value.hop == "check"


# --- commands ---


def test_a_command_that_holds(bench):
    """A command runs on the target in the app's folder and environment."""
    command = 'test "$(pwd)" = "${HOME%/home}/app" && test -f app.py && echo "I am $NAME on $PORT"; exit 4'
    _run(bench, CommandCheck(name="c", command=command, exit_code=4, stdout="I am radicale on "))
    assert "I am radicale on" in _transcript(bench, "check")


@pytest.mark.parametrize(
    ("check", "say"),
    [
        (CommandCheck(name="c", command="echo bad >&2; exit 3"), "expected exit code 0, got exit code 3: bad"),
        (CommandCheck(name="c", command="exit 3"), "expected exit code 0, got exit code 3: it printed nothing"),
        (CommandCheck(name="c", command="echo 3.4", stdout="3.5"), "expected output that contains '3.5', got '3.4'"),
    ],
)
def test_a_command_that_does_not_hold(bench, check, say):
    """A command's exit code and output are told as they were."""
    assert str(_fails(bench, check)) == f"check 1 (c): {say}"


def test_a_command_that_does_not_end(bench):
    """A command is killed on the target when its time is up."""
    odd = _odd_number()
    failure = _fails(bench, CommandCheck(name="c", command=f"sleep {odd}; true", within_s=0.5))
    assert str(failure) == "check 1 (c): expected exit code 0, got no end within 0.5 s"
    assert failure.deadline_s == 0.5
    assert not _running(["sleep", odd])


# --- scripts ---

FETCH = """
import os, urllib.request
assert os.environ["HOME"] == os.getcwd() and os.listdir() == [], os.listdir()
body = urllib.request.urlopen(os.environ["APP_URL"] + "/json").read()
assert b"forwarded" in body
print("fetched", os.environ["NAME"])
open("left-behind", "w")
"""


def test_a_script_that_holds(bench):
    """A script reaches the app by APP_URL as anyone would, in an empty folder of its own, with the app's [env]."""
    _run(bench, _script(bench, FETCH))
    assert "fetched radicale\n" in _transcript(bench, "check")
    assert sorted(path.name for path in bench.folder.iterdir()) == ["app.py", "check.py", "site"]


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_script_by_its_shebang(bench, mode):
    """A shebang decides who runs it, whether the file is executable or not; curl comes through the proxy too."""
    text = '#!/bin/sh\nset -e\ncurl -sf "$APP_URL/" | grep "by radicale"\n'
    _run(bench, _script(bench, text, mode, "check.sh"))
    assert "by radicale\n" in _transcript(bench, "check")


def test_a_script_that_does_not_hold(bench):
    """The exit code and the last lines of a script are told, and all of its output is in the transcript."""
    failure = _fails(bench, _script(bench, "import sys\nfor i in range(9): print('line', i)\nsys.exit(3)\n"))
    assert str(failure) == "check 1 (script): expected exit code 0, got exit code 3: line 6 | line 7 | line 8"
    assert "line 0\n" in _transcript(bench, "check")


def test_a_script_that_can_not_be_started(bench):
    """A script whose interpreter isn't on the lab host fails in plain words."""
    failure = _fails(bench, _script(bench, "#!/no/such/thing\n"))
    say = "expected exit code 0, got it can't be started: there is no program /no/such/thing"
    assert str(failure) == f"check 1 (script): {say}"


@pytest.mark.parametrize("line", ["#!/bin/sh 'open", "#!/bin/sh \0", "#!"])
def test_a_shebang_that_is_none(bench, line):
    """A first line that no program can be read from is the check's own fault, and not one of the lab."""
    failure = _fails(bench, _script(bench, f"{line}\nexit 0\n"))
    assert str(failure).startswith("check 1 (script): expected exit code 0, got it can't be started: ")


def test_a_script_that_does_not_end(bench):
    """At its deadline a script and all it started are killed, also what went into a session of its own."""
    odd = _odd_number()
    text = f"import subprocess\nsubprocess.Popen(['sleep', '{odd}'], start_new_session=True)\nprint('on', flush=True)\n"
    check = _script(bench, text + f"subprocess.run(['sleep', '{odd}'])\n")
    check = ScriptCheck(name="script", script=check.script, within_s=1.0)
    started = time.monotonic()
    failure = _fails(bench, check)
    assert str(failure) == "check 1 (script): expected exit code 0, got no end within 1 s; it last said: on"
    assert failure.deadline_s == 1.0
    assert time.monotonic() - started < 30
    assert not _running(["sleep", odd])


def test_what_a_passing_script_leaves_running(bench):
    """What a script left in the background is gone with it, and doesn't hold up the test."""
    odd = _odd_number()
    text = f"import subprocess\nsubprocess.Popen(['sleep', '{odd}'], start_new_session=True)\n"
    started = time.monotonic()
    _run(bench, _script(bench, text))
    assert time.monotonic() - started < 30
    assert not _running(["sleep", odd])


def test_a_script_that_floods(bench):
    """Of a script's output the last 64 KiB are kept, however much there was."""
    _run(bench, _script(bench, "for i in range(200_000): print('x' * 99)\nprint('the end')\n"))
    shown = _transcript(bench, "check")
    assert "the end" in shown
    assert len(shown) < 90_000


def test_a_script_learns_no_secret_of_the_lab(bench, monkeypatch):
    """Nothing of the lab's environment reaches a script but what is on the list; the proxy's password gets masked."""
    monkeypatch.setenv("TESTLAB_DATABASE_URL", "postgresql://lab:secret@db/lab")
    monkeypatch.setenv("HCLOUD_TOKEN", "token-of-the-cloud")
    text = "import os\nfor name, value in sorted(os.environ.items()): print(f'{name}={value}')\n"
    _run(bench, _script(bench, text), env={"NAME": "radicale", "PATH": "/nowhere:/usr/bin", "HOME": "/nowhere"})
    shown = _transcript(bench, "check")
    assert "NAME=radicale\n" in shown
    assert "lab:secret" not in shown
    assert "token-of-the-cloud" not in shown
    password = re.search(r"http_proxy=http://lab:([\w-]+)@127.0.0.1:", shown)
    assert password is not None
    assert password[1] in bench.observe.concealed
    assert "HOME=/nowhere" not in shown
    names = {line.partition("=")[0] for line in shown.splitlines() if "=" in line}
    assert not {name for name in names if name.startswith("TESTLAB_")} - {"TESTLAB_CHECK"}


def _odd_number():
    """Seconds that nobody else on this machine sleeps for."""
    return f"{random.randint(10_000, 1_000_000)}.5"


def _running(command):
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline() == command:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


# --- readiness and strangers ---


def test_ready_after_a_while(bench):
    """Readiness is polled: an app that takes two seconds is ready then, not when the time is up."""
    deployment = bench.deploy(command="sleep 2; exec python3 app.py $PORT")
    started = time.monotonic()
    client = bench.platform.client(deployment)
    wait_ready(client, Ready(within_s=60), bench.observe, deadline=started + 60)
    assert time.monotonic() - started < 30
    assert _transcript(bench, "http").startswith("GET / → 502 in ")
    assert _transcript(bench, "http").rstrip().splitlines()[-1].startswith("  | hello from")


def test_never_ready(bench):
    """An app that isn't up in time: the last status seen is a field of the failure."""
    deployment = bench.deploy(command="sleep 60")
    client = bench.platform.client(deployment)
    with pytest.raises(NotReady, match=r"^GET /x through the front door: status 502, for \S+ s$") as failure:
        wait_ready(client, Ready(http="/x", within_s=0.5), bench.observe, deadline=time.monotonic() + 60)
    assert failure.value.status == 502
    with pytest.raises(NotReady) as failure:
        wait_ready(client, Ready(within_s=60), bench.observe, deadline=time.monotonic() + 0.3)
    assert failure.value.seconds < 30
    with pytest.raises(DeadlinePassed) as late:
        wait_ready(client, Ready(), bench.observe, deadline=time.monotonic() - 1)
    assert late.value.hop == "ready"


def test_an_app_that_answers_to_any_name(bench):
    """When the front door gives the app to an unknown host, the deploy isn't taken for good."""
    deployment = bench.deploy()
    bench.get(deployment)
    vhost = deployment.data["vhost"]
    front = bench.target.server.facts["root"] + "/front"
    bench.shell(f"sed -i 's/server_name .*/server_name ~.;/' {vhost}; kill -HUP $(cat {front}/nginx.pid); sleep 0.5")
    with pytest.raises(DeployFailed, match=r"^front door: an unknown host gets the app's own answer to GET /$"):
        ask_as_a_stranger(bench.platform, deployment, bench.observe)
    assert "as an unknown host: GET / → 200" in _transcript(bench, "http")
