"""What the platform procfile makes of an app, on a real target with real nginx and PostgreSQL."""

from __future__ import annotations

import json
import random
import socket
import time
from pathlib import Path, PurePosixPath

import pytest

from pytest_testlab.catalog.checks import ask_as_a_stranger, wait_ready
from pytest_testlab.errors import BuildFailed, DeadlinePassed, DeployFailed, InfraError, NotReady, RequirementMissing
from pytest_testlab.model import Ready, Server
from pytest_testlab.platform.layout import Layout

STATIC = PurePosixPath("site")


def test_answers_by_its_own_host_only(bench):
    """An app answers through the front door by the host with its nonce; any other host gets 421."""
    deployment = bench.deploy(env={"NAME": 'it\'s "x" $HOME\nz'})
    answer = bench.get(deployment)
    assert answer.body.decode() == f'hello from {deployment.app.nonce} by it\'s "x" $HOME\nz'
    assert bench.get(deployment, host="hello.testlab.internal").status == 421
    assert bench.platform.listens(bench.target, deployment) is None
    ask_as_a_stranger(bench.platform, deployment, bench.observe)


def test_the_app_learns_how_it_is_reached(bench):
    """The app sees its public host and the proxy's headers, and is told PORT, HOME and APP_URL."""
    deployment = bench.deploy()
    headers = json.loads(bench.get(deployment, "/json").body)["forwarded"]
    assert headers["Host"] == headers["X-Forwarded-Host"] == deployment.app.host
    assert headers["X-Forwarded-Proto"] == "http"
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    env = json.loads(bench.get(deployment, "/env").body)
    assert env["PORT"] == str(deployment.port)
    assert env["APP_URL"] == deployment.url
    assert env["HOME"].startswith(deployment.data["home"])


def test_two_apps_at_once(bench):
    """Two apps on one target have each their own port, folder and host."""
    first, second = bench.deploy(env={"NAME": "first"}), bench.deploy(env={"NAME": "second"})
    assert bench.get(first).body.endswith(b"by first")
    assert bench.get(second).body.endswith(b"by second")


def test_a_static_site(bench):
    """A static site is served from its folder, has no process, and its probe says so."""
    deployment = bench.deploy(static=STATIC)
    assert bench.get(deployment).body == b"<h1>a static site</h1>\n"
    assert bench.platform.listens(bench.target, deployment) is None
    facts = bench.probe(deployment)
    assert facts.process is not None
    assert facts.process.state == "absent"
    assert facts.front_door is not None
    assert facts.front_door.status == 200
    assert bench.section(deployment, "app") == "absent: a static site has no process"
    assert bench.section(deployment, "build") == "absent: the entry has no build commands"


def test_a_static_site_that_was_not_built(bench):
    """A folder to serve that isn't there after the build fails the deploy, instead of a site of 404s."""
    with pytest.raises(DeployFailed, match=r"^start: the folder dist, which is to be served, isn't there after the"):
        bench.deploy(static=PurePosixPath("dist"), build=("mkdir other",))
    assert "failed: start: the folder dist" in bench.section(bench.deployments[0], "deploy")


def test_redirects_stay_on_the_front_door(bench):
    """A redirect of nginx's own leads to the name that users know, not to the port behind it."""
    (bench.folder / "site" / "deeper").mkdir()
    answer = bench.get(bench.deploy(static=STATIC), "/deeper")
    assert (answer.status, answer.headers["location"]) == (301, "/deeper/")


def test_bodies_of_any_size(bench):
    """What nginx can't hold in memory goes through its own spool, both ways."""
    deployment = bench.deploy()
    bench.get(deployment)
    body = b"x" * 5_000_000
    answer = bench.platform.client(deployment).request("POST", "/echo", body=body, timeout_s=20)
    assert (answer.status, len(answer.body)) == (200, 1024 * 1024)


def test_a_switch_of_protocols(bench):
    """Web sockets come through the front door."""
    deployment = bench.deploy()
    bench.get(deployment)
    with socket.create_connection((deployment.front_door.host, deployment.front_door.port), timeout=10) as line:
        upgrade = "Connection: Upgrade\r\nUpgrade: echo"
        line.sendall(f"GET /socket HTTP/1.1\r\nHost: {deployment.app.host}\r\n{upgrade}\r\n\r\n".encode())
        assert line.recv(4096).startswith(b"HTTP/1.1 101 ")
        line.sendall(b"ping")
        assert line.recv(4096) == b"ping"


def test_installing_again_keeps_what_runs(bench):
    """The platform can be installed again; apps stay up, and the versions are told."""
    deployment = bench.deploy()
    versions = bench.platform.install(bench.target, bench.observe)
    assert versions["platform"] == "procfile 1"
    assert versions["nginx"].startswith("1.")
    assert bench.get(deployment).status == 200


def test_a_row_of_its_own_database(bench):
    """The addon postgresql is a database of the app's own: the build can fill it, and the app reads it back."""
    fill = 'psql -q -c "CREATE TABLE words AS SELECT \'kept\' AS word" "$DATABASE_URL"'
    deployment = bench.deploy(addons=("postgresql",), build=(fill,))
    assert bench.get(deployment, "/row").body == b"kept\n"
    assert deployment.addons["postgresql"] == deployment.env["DATABASE_URL"]
    assert deployment.data["password"] in deployment.secret_values
    other = bench.deploy(addons=("postgresql",))
    theirs = deployment.env["DATABASE_URL"].replace(deployment.data["password"], other.data["password"])
    assert bench.target.run(f"psql -c 'SELECT 1' {theirs}", timeout_s=10).exit_code == 2


def test_build_failure_says_which_command(bench):
    """A build command that ends with an error stops the deploy; its output is in the section `build`."""
    with pytest.raises(BuildFailed, match=r"^build command failed with exit code 7: echo no; exit 7$") as failure:
        bench.deploy(build=("echo yes", "echo no; exit 7", "echo never"))
    assert failure.value.exit_code == 7
    log = bench.section(bench.deployments[0], "build")
    assert log == "$ echo yes\nyes\n[exit code 0]\n$ echo no; exit 7\nno\n[exit code 7]\n"
    assert bench.section(bench.deployments[0], "nginx-error").startswith("absent: the front door was never opened")


def test_a_build_that_never_ends(bench):
    """A build is ended when the entry's time is up, and nothing of it goes on."""
    started = time.monotonic()
    command = f"echo on; sleep {random.randint(10_000, 1_000_000)}"
    with pytest.raises(DeadlinePassed, match=rf"^no end of the build command: {command} within 1\.5 s$") as late:
        bench.deploy(build=(command,), timeout_s=1.5)
    assert late.value.hop == "build"
    assert time.monotonic() - started < 30
    assert "echo on" in bench.section(bench.deployments[0], "build")
    assert bench.shell(f"pgrep -fx '{command[9:]}' || echo none") == "none"


def test_a_build_that_leaves_a_daemon(bench):
    """A build command is over when it ends, whatever it left in the background holding its output open."""
    started = time.monotonic()
    deployment = bench.deploy(build=("sleep 60 & echo begun",))
    assert time.monotonic() - started < 30
    assert "begun" in bench.section(deployment, "build")


def test_an_app_that_hangs_is_not_ready(bench):
    """An app that takes requests and never answers isn't ready, and the probe says so without waiting for it."""
    deployment = bench.deploy(ready=Ready(http="/hang", within_s=2.0))
    with pytest.raises(NotReady, match=r"^GET /hang through the front door: no answer \(timeout\), for \d+(\.\d)? s$"):
        wait_ready(
            bench.platform.client(deployment), deployment.app.entry.ready, bench.observe, deadline=time.monotonic() + 60
        )
    started = time.monotonic()
    facts = bench.probe(deployment)
    assert time.monotonic() - started < 20
    assert [answer.error for answer in facts.inside] == ["timeout"]
    assert facts.front_door is not None
    assert facts.front_door.error == "timeout"
    assert facts.unknown_host is not None
    assert facts.unknown_host.status == 421


def test_a_taken_port(bench):
    """An app isn't started on a port where another process listens already."""
    deployment = bench.place()
    bench.shell(f"setsid python3 -m http.server -b 127.0.0.1 {deployment.port} >/dev/null 2>&1 </dev/null & echo")
    bench.until(lambda: (bench.platform.listens(bench.target, deployment) or "").startswith("process "))
    with pytest.raises(DeployFailed, match=rf"^start: port {deployment.port} is taken by process \d+, which isn't of"):
        bench.platform.deploy(bench.target, deployment, bench.observe)
    left = rf"hello isn't gone; left: listener on port {deployment.port}, process (\d+)$"
    with pytest.raises(InfraError, match=left) as raised:
        bench.platform.destroy(bench.target, deployment)
    bench.shell(f"kill {str(raised.value).split()[-1]}")
    bench.until(lambda: bench.platform.listens(bench.target, deployment) == f"nobody listens on port {deployment.port}")


def test_an_addon_that_is_not_offered(bench):
    """An entry that wants another addon is not run here."""
    with pytest.raises(RequirementMissing, match=r"^the platform procfile has no addon 'redis'; it has: postgresql$"):
        bench.deploy(addons=("redis",))


def test_an_impossible_variable(bench):
    """A name that no shell can export is refused in plain words."""
    with pytest.raises(DeployFailed, match=r"^environment: 'a\.b' can't be the name of a variable$"):
        bench.deploy(env={"a.b": "1"})


def test_secrets_stay_out_of_the_process_list(bench):
    """No process shows the app's secrets or its database's password in its arguments, in the build or later."""
    secret = "s3cret-of-the-app"
    look = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' >>seen"
    deployment = bench.deploy(env={"TOKEN": secret}, addons=("postgresql",), build=(look,))
    bench.get(deployment)
    seen = bench.shell(f"cat {deployment.folder}/seen; cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'")
    assert "app.py" in seen
    assert secret not in seen
    assert deployment.data["password"] not in seen
    assert bench.shell(f"stat -c %a {deployment.data['home']}/state/env") == "600"


@pytest.mark.parametrize(
    ("facts", "say"),
    [
        ({"root": "/tmp/x", "ports": "many"}, "s: its ports are 'many'; expected something like '20000-20049'"),
        ({"root": "/tmp/x", "ports": "1-2"}, "s: 2 ports are too few; the platform needs 4"),
        ({"root": "relative"}, "s: can't work below 'relative': not an absolute path, or odd letters"),
        ({"root": '/tmp/"; evil'}, "s: can't work below '/tmp/\"; evil': not an absolute path, or odd letters"),
    ],
)
def test_facts_that_cannot_be_used(facts, say):
    """A server whose facts make no sense is refused by name."""
    with pytest.raises(InfraError) as failure:
        Layout(server=Server(name="s", provider="p", facts=facts), root=facts["root"])
    assert str(failure.value) == say


def test_scripts_are_packaged_and_plain_shell():
    """Every script is read by the system's own sh without complaint."""
    import subprocess

    from pytest_testlab import platform

    scripts = sorted((Path(platform.__file__).parent / "scripts").glob("*.sh"))
    assert len(scripts) >= 10
    for script in scripts:
        subprocess.run(["sh", "-n", script], check=True)
