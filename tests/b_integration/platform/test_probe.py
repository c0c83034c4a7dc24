"""What the probe finds out about a broken app, and the logs that a bundle takes."""

from __future__ import annotations

import shlex
import time

from pytest_testlab.platform import sections

TOOLS = "awk bash cat cmp cut grep head ls mktemp psql python3 rm sed sort tail timeout tr"


def test_a_healthy_app(bench):
    """A healthy app: running, listening on its port, answering inside and outside, and unknown hosts don't get it."""
    deployment = bench.deploy()
    bench.get(deployment)
    facts = bench.probe(deployment)
    assert facts.process is not None
    assert (facts.process.state, facts.process.starts) == ("running", 1)
    assert [(one.address, one.descends) for one in facts.listeners] == [(f"127.0.0.1:{deployment.port}", True)]
    assert [(one.status, one.declared) for one in facts.inside] == [(200, True)]
    assert facts.front_door is not None
    assert facts.front_door.status == 200
    assert facts.unknown_host is not None
    assert facts.unknown_host.status == 421
    assert not facts.missing


def test_a_port_mismatch(bench):
    """An app on another port than it was told: 502 outside, 200 inside where it really listens."""
    deployment = bench.deploy(command="exec python3 app.py $((PORT + 1))")
    bench.until(lambda: len(bench.probe(deployment).listeners) == 1)
    facts = bench.probe(deployment)
    told, real = f"127.0.0.1:{deployment.port}", f"127.0.0.1:{deployment.port + 1}"
    answers = {one.address: (one.declared, one.status, one.error) for one in facts.inside}
    assert answers == {told: (True, None, "refused"), real: (False, 200, None)}
    assert facts.front_door is not None
    assert facts.front_door.status == 502
    say = bench.platform.listens(bench.target, deployment)
    assert say == f"nobody listens on port {deployment.port}"
    assert "Connection refused" in bench.section(deployment, "nginx-error")


def test_a_crash_loop(bench):
    """An app that ends at once is started five times, and then has exited with its code."""
    deployment = bench.deploy(command="echo dying; exit 3")
    bench.until(lambda: bench.probe(deployment).process.state == "exited")
    process = bench.probe(deployment).process
    assert (process.starts, process.exit_code) == (5, 3)
    assert bench.section(deployment, "app") == "dying\n" * 5
    assert bench.platform.given_up(bench.target, deployment) == "exit code 3, started 5 times"


def test_what_may_still_come_up_is_not_given_up(bench):
    """While a process of the deploy is there: the app itself, or one that it left in the background as it ended."""
    healthy = bench.deploy()
    assert bench.platform.given_up(bench.target, healthy) is None
    behind = bench.deploy(command="[ -e once ] || { touch once; setsid sleep 300 & }; exit 0")
    bench.until(lambda: bench.probe(behind).process.state == "exited")
    assert bench.platform.given_up(bench.target, behind) is None


def test_a_killed_app_comes_back(bench):
    """An app that is killed is started again, and its former end is remembered."""
    deployment = bench.deploy()
    bench.get(deployment)
    pid = bench.probe(deployment).process.pid
    bench.shell(f"kill -9 {pid}")
    bench.until(lambda: bench.probe(deployment).process.starts == 2)
    bench.get(deployment)
    process = bench.probe(deployment).process
    assert (process.state, process.exit_code) == ("running", 137)


def test_a_killed_supervisor(bench):
    """When the supervisor is killed, the app is still known to be this deploy's."""
    deployment = bench.deploy()
    bench.get(deployment)
    bench.shell(f"kill -9 $(cat {deployment.data['home']}/state/supervisor)")
    assert bench.probe(deployment).process.state == "running"
    assert bench.platform.listens(bench.target, deployment) is None


def test_an_addon_that_refuses(bench):
    """An addon is probed at the address that the app is told, which the entry may have set itself."""
    deployment = bench.deploy(env={"DATABASE_URL": "postgresql://u:p@127.0.0.1:9/db"}, addons=("postgresql",))
    [addon] = bench.probe(deployment).addons
    assert (addon.name, addon.address, addon.answers) == ("postgresql", "127.0.0.1:9", False)
    assert "refused" in addon.say


def test_an_addon_that_knows_no_such_user(bench):
    """An addon that listens and turns the app away is unreachable too; what it says is kept, the password is not."""
    deployment = bench.deploy(addons=("postgresql",))
    [addon] = bench.probe(deployment).addons
    assert (addon.answers, addon.say) == (True, "it answers")
    wrong = deployment.env["DATABASE_URL"].replace(deployment.data["password"], "a-wrong-password")
    deployment = bench.deploy(env={"DATABASE_URL": wrong}, addons=("postgresql",))
    [addon] = bench.probe(deployment).addons
    assert not addon.answers
    assert "password authentication failed" in addon.say
    assert "a-wrong-password" not in addon.say


def test_an_addon_of_another_kind(bench):
    """Where only the address can be tried, it is: whatever speaks there."""
    deployment = bench.place(addons=("postgresql",), env={"DATABASE_URL": "mysql://127.0.0.1:1/x"})
    [addon] = bench.probe(deployment).addons
    assert (addon.address, addon.answers) == ("127.0.0.1:1", False)
    port = deployment.front_door.port
    deployment = bench.place(addons=("postgresql",), env={"DATABASE_URL": f"mysql://127.0.0.1:{port}/x"})
    [addon] = bench.probe(deployment).addons
    assert addon.answers


def test_an_address_that_is_none(bench):
    """A DATABASE_URL that is no URL is told as it is, and hurts nothing."""
    deployment = bench.place(addons=("postgresql",), env={"DATABASE_URL": "postgresql://[::bad/"})
    [addon] = bench.probe(deployment).addons
    assert not addon.answers
    assert "not a URL" in addon.address


def test_without_curl(bench):
    """Where there is no curl, python3 asks; where there is neither, the probe says what is missing and why."""
    deployment = bench.deploy()
    bench.get(deployment)
    section = bench.platform.probe(bench.target, deployment)
    for without, expected in (("curl", "status=200"), ("python3", 'missing what=inside why="no curl or python3')):
        bin_folder = f"{deployment.data['home']}/without-{without}"
        links = f"for tool in {TOOLS.replace(without, '')}; do ln -s $(command -v $tool) {bin_folder}/; done"
        bench.shell(f"mkdir {bin_folder}; {links}")
        script = "absent() { echo absent $1; exit 0; }\n" + section.script
        result = bench.target.run(script, timeout_s=10, env={"PATH": bin_folder})
        assert expected in result.stdout.decode(), result


def test_with_an_old_curl(bench):
    """A curl that can't ask several at once asks one by one, with the same answers."""
    deployment = bench.deploy()
    bench.get(deployment)
    old = f"{deployment.data['home']}/old"
    refuse = 'case " $* " in *" --parallel "*) exit 2 ;; esac'
    bench.shell(
        f"mkdir {old}; echo '{refuse}; exec /usr/bin/curl \"$@\"' >{old}/curl; sed -i '1i #!/bin/sh' {old}/curl"
    )
    bench.shell(f"chmod +x {old}/curl")
    script = bench.platform.probe(bench.target, deployment).script
    said = bench.target.run(f"PATH={old}:$PATH\n{script}", timeout_s=10).stdout.decode()
    assert f"inside address=127.0.0.1:{deployment.port} declared=yes status=200" in said
    assert "front-door" in said
    assert said.count("status=200") == 2
    assert "status=421" in said


def test_a_large_answer(bench):
    """Of an answer without end the beginning is enough: its status is known, and no disk fills."""
    serve = "yes | head -c 300000000; "
    page = f"printf 'HTTP/1.0 200 OK\\r\\n\\r\\n'; {serve}"
    app = (
        "import os, socket, subprocess\nserver = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
        "while True:\n    line, _ = server.accept()\n    line.recv(9999)\n"
        f"    subprocess.run(['sh', '-c', {page!r}], stdout=line, stderr=subprocess.DEVNULL)\n    line.close()\n"
    )
    deployment = bench.deploy(command=f"exec python3 -c {shlex.quote(app)}")
    bench.until(lambda: bench.probe(deployment).inside[0].status == 200)


def test_a_port_that_a_stranger_has(bench):
    """Who listens on the app's port is named, though it is none of the deploy's processes."""
    deployment = bench.place()
    held = f"import socket, time; s = socket.create_server(('127.0.0.1', {deployment.port})); time.sleep(60)"
    pid = int(bench.shell(f"python3 -c {shlex.quote(held)} >/dev/null 2>&1 & echo $!"))
    try:
        bench.until(lambda: bench.probe(deployment).listeners)
        [listener] = bench.probe(deployment).listeners
        assert (listener.address, listener.pid) == (f"127.0.0.1:{deployment.port}", pid)
        assert not listener.descends
    finally:
        bench.shell(f"kill {pid}")


def test_a_flood_of_output(bench):
    """An app that prints 200 MB at once doesn't fill the disk and isn't held up; the end of it is kept."""
    line = "x" * 99
    flood = f"yes {line} | head -n 2000000; echo the end; exec python3 app.py $PORT"
    deployment = bench.deploy(command=flood)
    bench.until(lambda: bench.platform.client(deployment).request("GET", "/", timeout_s=9).status == 200, 30)
    kilobytes = int(bench.shell(f"du -sk {deployment.data['logs']}").split()[0])
    assert kilobytes <= 21_000
    assert "the end\n" in bench.section(deployment, "app")


def test_links_are_not_followed(bench):
    """A log that the app has replaced by a link to something else is not read."""
    deployment = bench.deploy()
    bench.get(deployment)
    bench.shell(f"rm {deployment.data['logs']}/app.log; ln -s /etc/passwd {deployment.data['logs']}/app.log")
    assert bench.section(deployment, "app") == "absent: the app was never started, or has printed nothing"


def test_every_section_says_where_it_is_from(bench):
    """Each section names its source; together with the probe they are what the design promises."""
    deployment = bench.place()
    found = {section.name: section.source for section in bench.platform.sections(bench.target, deployment)}
    assert set(found) == {"build", "deploy", "app", "nginx-error", "nginx-access"}
    assert all(source.startswith(deployment.data["logs"]) for source in found.values())
    assert bench.platform.probe(bench.target, deployment).timeout_s == sections.PROBE_WITHIN_S
    assert bench.section(deployment, "deploy") == "absent: the deploy never began"


def test_a_healthy_probe_is_quick(bench):
    """The probe of a healthy app takes a fraction of a second."""
    deployment = bench.deploy(addons=("postgresql",))
    bench.get(deployment)
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        bench.probe(deployment)
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1.0
