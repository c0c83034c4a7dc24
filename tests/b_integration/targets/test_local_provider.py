"""The provider `local`: what it makes, how it blanks, and that nothing stays behind, however a run ends."""

from __future__ import annotations

import os
import pickle
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from testlab_local import places, ports, processes, records
from testlab_local.provider import LocalProvider

from pytest_testlab.errors import InfraError, NotBlankError, UsageError
from pytest_testlab.hookspecs import PROJECT
from pytest_testlab.model import Server, ServerRequest
from pytest_testlab.options import Settings
from pytest_testlab.plugins import offers, pick, plugin_manager

Running = Callable[[str], list[int]]
Soon = Callable[..., None]


@pytest.fixture
def nap() -> str:
    """A sleep that no other process of this machine sleeps."""
    return f"5000.{secrets.randbelow(10**9):09}"


def _run(provider: LocalProvider, server: Server, script: str) -> str:
    target = provider.connect(server)
    try:
        result = target.run(script, timeout_s=20)
    finally:
        target.close()
    assert result.exit_code == 0, result.stderr
    return result.stdout.decode()


def _block(server: Server) -> range:
    first, last = server.facts["ports"].split("-")
    return range(int(first), int(last) + 1)


def test_it_comes_through_the_public_hook(settings: Settings) -> None:
    """The engine knows the provider by its entry point alone."""
    factory = pick("provider", "local", offers(plugin_manager().hook.testlab_providers()))
    provider = factory(settings)
    assert (PROJECT, provider.name, provider.blank_between_units) == ("testlab", "local", True)


def test_a_target_has_folder_home_and_ports_of_its_own(provider: LocalProvider, server: Server) -> None:
    """Nothing of the caller's shows through, and it says that it isolates nothing."""
    shown = _run(
        provider, server, "pwd; echo $HOME; echo $TMPDIR; echo $PATH; id -un; umask; ls -ld $HOME | cut -c1-10"
    )
    root = server.facts["root"]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    expected = [f"{root}/home", f"{root}/home", f"{root}/tmp", path, server.facts["user"], "0022", "drwx------"]
    assert shown.split() == expected
    assert server.isolation == "no isolation"
    assert len(_block(server)) == 19
    assert server.facts["user"] != "root"


def test_no_secret_of_the_lab_reaches_a_target(provider: LocalProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is an allow-list: package clients' CA bundles and indexes pass, tokens don't."""
    monkeypatch.setenv("HCLOUD_TOKEN", "needle-1")
    monkeypatch.setenv("TESTLAB_DATABASE_URL", "postgresql://lab:needle-2@/lab")
    monkeypatch.setenv("npm_config_registry_authtoken", "needle-3")
    monkeypatch.setenv("PYTHONPATH", "/needle-4")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("npm_config_registry", "https://registry.example/")
    server = provider.create(ServerRequest(run="r", slot=1))
    shown = _run(
        provider, server, "env; tr '\\0' '\\n' </proc/self/environ; printenv PIP_INDEX_URL npm_config_registry"
    )
    assert "needle" not in shown
    assert shown.endswith("https://index.example/simple\nhttps://registry.example/\n")
    of_the_server = Path(f"/proc/{_record(server).pid}/environ").read_bytes()
    assert not [n for n in (b"needle-1", b"needle-2", b"needle-3") if n in of_the_server]


def _record(server: Server) -> records.Record:
    record = records.read(Path(server.facts["root"]).parent, server.name)
    assert record is not None
    return record


def test_blanking_kills_what_hides_and_proves_it(
    provider: LocalProvider, server: Server, nap: str, running: Running
) -> None:
    """A daemon that forked twice, made a session of its own and dropped its environment goes, and its files too."""
    python = "import os,sys\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
    daemon = f"{python}os.execve('/bin/sleep', ['sleep', '{nap}'], {{}})"
    _run(
        provider,
        server,
        f"""python3 -c "{daemon}"; (trap '' TERM; setsid nohup sleep {nap} >/dev/null 2>&1 </dev/null &)
        mkdir -p ../work/a ~/.cache && touch ../work/a/b && chmod 500 ../work/a && ln -s /etc $HOME/etc; sleep 0.1""",
    )
    assert len(running(nap)) == 2
    blank = provider.blank(server)
    assert running(nap) == []
    assert blank.epoch == server.epoch + 1
    assert blank.proof["processes"] == "2 killed, none left"
    assert blank.proof["folder"] == "empty"
    assert blank.proof["ports"] == f"nothing listens on {server.facts['ports']}"
    assert _run(provider, blank, "ls -A . .. ../tmp").split() == [".:", "..:", "home", "tmp", "../tmp:"]
    assert Path("/etc/passwd").exists()


def test_a_port_that_stays_taken_is_no_blank_target(provider: LocalProvider, server: Server) -> None:
    """Whoever listens in the target's block could answer in an app's place."""
    taken = socket.create_server(("127.0.0.1", _block(server)[3]))
    with taken, pytest.raises(NotBlankError, match="still listens"):
        provider.blank(server)
    assert provider.blank(server).proof


HIDDEN = "env -i /usr/bin/setsid /bin/sleep {nap} >/dev/null 2>&1 </dev/null & sleep 0.05"
"""A daemon without a mark in its environment."""


def test_a_target_whose_server_is_gone_is_never_handed_over(
    provider: LocalProvider, server: Server, nap: str, running: Running, soon: Soon
) -> None:
    """Blanking refuses; its guard kills what ran there, and until it is destroyed the log says why."""
    _run(provider, server, HIDDEN.format(nap=nap))
    record = _record(server)
    os.kill(record.pid, signal.SIGKILL)
    soon(lambda: running(nap) == [])
    with pytest.raises(NotBlankError, match="its SSH server is gone"):
        provider.blank(server)
    assert "the SSH server ended with signal 9" in (provider.console(server) or "")
    provider.destroy(server)
    assert not Path(server.facts["root"]).exists()


def test_a_target_whose_guard_is_gone_leaves_nothing(
    provider: LocalProvider, server: Server, nap: str, running: Running, soon: Soon
) -> None:
    """Its SSH server ends, and does the guard's work: also what cleared its environment is killed."""
    _run(provider, server, HIDDEN.format(nap=nap))
    record = _record(server)
    guard = processes.look_up(record.pid)
    assert guard is not None
    os.kill(guard.parent, signal.SIGKILL)
    soon(lambda: running(nap) == [] and not Path(server.facts["root"]).exists())
    provider.destroy(server)
    assert list(provider.owned()) == []


def test_what_outlives_server_and_guard_is_found_by_its_mark(
    provider: LocalProvider, server: Server, nap: str, running: Running, soon: Soon
) -> None:
    """Destroying needs neither of them."""
    _run(provider, server, f"setsid nohup sleep {nap} >/dev/null 2>&1 </dev/null &")
    record = _record(server)
    os.killpg(os.getpgid(record.pid), signal.SIGKILL)
    soon(lambda: not processes.is_alive(record.process))
    assert len(running(nap)) == 1
    provider.destroy(server)
    assert running(nap) == []
    assert not Path(server.facts["root"]).exists()


def test_a_client_that_goes_takes_its_command_along(
    provider: LocalProvider, server: Server, nap: str, running: Running, soon: Soon
) -> None:
    """A worker that dies leaves no command running on its target; daemons stay, until the target is blanked."""
    target = provider.connect(server)
    with ThreadPoolExecutor(1) as thread:
        script = f"(setsid nohup sleep {nap} >/dev/null 2>&1 </dev/null &); setsid sh -c 'sleep {nap}; true'; true"
        command = thread.submit(target.run, script, timeout_s=20)
        soon(lambda: len(running(nap)) == 3)
        target.close()
        with pytest.raises(InfraError, match="the line was lost"):
            command.result(10)
    soon(lambda: len(running(nap)) == 1)
    provider.blank(server)
    assert running(nap) == []


def test_a_command_may_remove_its_home(provider: LocalProvider, server: Server) -> None:
    """The next one starts elsewhere, and blanking brings it back."""
    _run(provider, server, "rm -rf ~")
    assert _run(provider, server, "pwd") == "/\n"
    assert _run(provider, provider.blank(server), "pwd") == server.facts["root"] + "/home\n"


def test_a_target_that_cannot_be_made_leaves_nothing(provider: LocalProvider, tmp_path: Path) -> None:
    """The reason is in the error, and the slot can be tried again."""
    base = places.base(tmp_path / "home")
    (base / "full-0").mkdir()
    (base / "full-0" / "home").touch()
    with pytest.raises(InfraError, match=r"full-0: can't be made: .*File exists"):
        provider.create(ServerRequest(run="full", slot=0))
    assert list(provider.owned()) == []
    assert provider.create(ServerRequest(run="full", slot=0)).name == "full-0"


def test_destroying_twice_is_done_once(provider: LocalProvider, server: Server) -> None:
    """Processes, folder, record and log are gone; a second time is no error."""
    record = _record(server)
    assert [owned.name for owned in provider.owned()] == ["r-0"]
    assert provider.console(server) is not None
    provider.destroy(server)
    provider.destroy(server)
    assert not processes.is_alive(record.process)
    assert not Path(record.folder).exists()
    assert list(provider.owned()) == []
    assert provider.console(server) is None
    with pytest.raises(InfraError, match="its SSH server is gone"):
        provider.connect(server)


def test_a_slot_made_anew_replaces_the_old_one(provider: LocalProvider, server: Server) -> None:
    """Repeating a call leaves one target, not two."""
    record = _record(server)
    again = provider.create(ServerRequest(run="r", slot=0))
    assert not processes.is_alive(record.process)
    assert [owned.name for owned in provider.owned()] == [again.name]
    assert _run(provider, again, "echo on") == "on\n"


@pytest.mark.parametrize("run", ["../up", "a/b", ".hidden", "", "x" * 200])
def test_a_run_that_is_a_path_is_refused(provider: LocalProvider, run: str) -> None:
    """Names become folders."""
    with pytest.raises(UsageError, match="can't name a target"):
        provider.create(ServerRequest(run=run, slot=0))


def test_another_process_blanks_and_connects_by_the_server_alone(
    provider: LocalProvider, server: Server, settings: Settings, tmp_path: Path
) -> None:
    """Workers are given the server and nothing else."""
    (tmp_path / "given").write_bytes(pickle.dumps((settings, server)))
    script = """if True:
        import pickle, sys, pathlib
        from testlab_local.provider import LocalProvider
        settings, server = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
        provider = LocalProvider(settings)
        target = provider.connect(server)
        assert target.run("touch ~/x; echo x", timeout_s=5).exit_code == 0
        server = provider.blank(server)
        print(server.epoch, target.run("ls ~ | wc -l", timeout_s=5).stdout.decode().strip())
    """
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "given"], capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("1 0\n", "")


CONTROLLER = """if True:
    import sys, time
    from pytest_testlab.model import ServerRequest
    from pytest_testlab.options import Settings
    from testlab_local.provider import LocalProvider
    provider = LocalProvider(Settings(home=sys.argv[1]))
    for slot in range(int(sys.argv[3])):
        server = provider.create(ServerRequest(run=sys.argv[2], slot=slot))
        nap = "setsid nohup sleep %s >/dev/null 2>&1 </dev/null &" % sys.argv[4]
        provider.connect(server).run(nap, timeout_s=5)
        print(server.facts["ports"], server.facts["root"], flush=True)
    print("ready", flush=True)
    time.sleep(600)
"""


def _controller(home: str, run: str, slots: int, nap: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CONTROLLER, home, run, str(slots), nap]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _made(controller: subprocess.Popen[str]) -> list[list[str]]:
    assert controller.stdout is not None
    return [line.split() for line in iter(controller.stdout.readline, "ready\n")]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_nothing(
    settings: Settings, nap: str, running: Running, soon: Soon, number: signal.Signals
) -> None:
    """No process, no folder, no record: whatever happens to the process that made the targets."""
    assert settings.home is not None
    controller = _controller(settings.home, "killed", 2, nap)
    made = _made(controller)
    soon(lambda: len(running(nap)) == 3)  # the controller names it as well
    controller.send_signal(number)
    controller.wait(60)
    assert controller.stdout is not None
    controller.stdout.close()
    soon(lambda: not running(nap) and not any(Path(root).exists() for _, root in made))
    soon(lambda: list(LocalProvider(settings).owned()) == [])


def test_runs_at_once_do_not_collide(settings: Settings, nap: str, soon: Soon, running: Running) -> None:
    """Two sessions and their threads get blocks and folders of their own."""
    assert settings.home is not None
    controllers = [_controller(settings.home, name, 2, nap) for name in ("one", "two")]
    provider = LocalProvider(settings)
    with ThreadPoolExecutor(4) as threads:
        servers = list(threads.map(lambda slot: provider.create(ServerRequest(run="mine", slot=slot)), range(4)))
    made = [row for controller in controllers for row in _made(controller)]
    blocks = [server.facts["ports"] for server in servers] + [block for block, _ in made]
    assert len(set(blocks)) == 8
    assert len(list(provider.owned())) == 8
    for controller in controllers:
        controller.kill()
        controller.communicate()
    for server in servers:
        provider.destroy(server)
    soon(lambda: not running(nap))


def test_a_block_is_claimed_by_its_own_socket() -> None:
    """Neither a block that is claimed, nor one in which anything listens, nor the kernel's own ports are given out."""
    low, high = ports.ephemeral()
    listener, block = ports.claim()
    with listener:
        base = listener.getsockname()[1]
        assert list(block) == list(range(base + 1, base + ports.BLOCK))
        assert block[-1] < low or base > high
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", base))
        assert ports.listening(range(base, base + 1)) == [base]
    with socket.create_server(("127.0.0.1", block[5])):
        assert ports.listening(block) == [block[5]]


def test_root_runs_targets_as_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account is never root; one that isn't there is the user's to mend."""
    monkeypatch.setenv("TESTLAB_LOCAL_ACCOUNT", "root")
    if os.geteuid() != 0:
        assert places.account().uid == os.geteuid()
        return
    with pytest.raises(UsageError, match="targets never run as root"):
        places.account()
    monkeypatch.setenv("TESTLAB_LOCAL_ACCOUNT", "no-such-account")
    with pytest.raises(UsageError, match="this machine has no account 'no-such-account'"):
        places.account()
    monkeypatch.delenv("TESTLAB_LOCAL_ACCOUNT")
    assert places.account().name == "nobody"
