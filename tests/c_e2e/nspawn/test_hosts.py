"""Servers of the provider `nspawn`: what they are, what they become when they are blanked, and who can remove them."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import asyncssh
import hostyard
import pytest
from testlab_local import processes
from testlab_nspawn import cgroups
from testlab_nspawn.provider import NspawnProvider

from pytest_testlab import labels
from pytest_testlab.errors import InfraError, NotBlankError, UsageError
from pytest_testlab.model import Resource, Server, ServerRequest
from pytest_testlab.options import Settings
from pytest_testlab.protocols import Reapable, Snapshots
from pytest_testlab.target.ssh import SshTarget

UNTIL = dt.datetime(2031, 5, 1, tzinfo=dt.UTC)


def request(slot: int = 0, *, image: str | None = None, snapshot: str | None = None) -> ServerRequest:
    run = f"t-{secrets.token_hex(4)}"
    made = labels.labels_of(run=run, expires_at=UNTIL, slot=slot)
    return ServerRequest(run=run, slot=slot, image=image, snapshot=snapshot, expires_at=UNTIL, labels=made)


def ask(provider: NspawnProvider, server: Server, script: str, timeout_s: float = 60.0) -> str:
    target = provider.connect(server)
    try:
        result = target.run(script, timeout_s=timeout_s)
    finally:
        target.close()
    assert result.exit_code == 0, (result.stdout, result.stderr)
    return result.text.strip()


def unit(server: Server) -> str:
    return f"tl-{server.facts['host']}"


@pytest.fixture(scope="module")
def pair(provider: NspawnProvider) -> Iterator[tuple[Server, Server]]:
    """A host of each release, made at once."""
    wanted = [request(0), request(1, image="debian-13")]
    with ThreadPoolExecutor(2) as threads:
        older, newer = threads.map(provider.create, wanted)
    yield older, newer
    provider.destroy(older)
    provider.destroy(newer)


@pytest.fixture
def server(provider: NspawnProvider) -> Iterator[Server]:
    """A host of the test's own."""
    server = provider.create(request())
    yield server
    provider.destroy(server)


def test_each_image_is_its_release(provider: NspawnProvider, pair: tuple[Server, Server]) -> None:
    """debian-12, which is the default, and debian-13, side by side; systemd has started all of either."""
    said = [ask(provider, server, ". /etc/os-release; echo $ID-$VERSION_ID") for server in pair]
    assert said == ["debian-12", "debian-13"]
    assert [server.image for server in pair] == ["debian-12", "debian-13"]
    for server in pair:
        assert ask(provider, server, "systemctl is-system-running --wait; systemctl is-active nginx ssh dbus") == (
            "running\nactive\nactive\nactive"
        )
        assert ask(provider, server, "journalctl -b -o cat | grep -c systemd") != "0"


def test_no_two_hosts_share_what_identifies_them(provider: NspawnProvider, pair: tuple[Server, Server]) -> None:
    """Machine id, host key, boot id, host name, address, network namespace."""
    script = (
        "cat /etc/machine-id /proc/sys/kernel/random/boot_id /etc/ssh/ssh_host_ed25519_key.pub 2>&1;"
        "hostname; ip -4 -br address show eth0; readlink /proc/self/ns/net"
    )
    older, newer = (ask(provider, server, script).splitlines() for server in pair)
    assert not set(older) & (set(newer) - {"cat: /etc/ssh/ssh_host_ed25519_key.pub: No such file or directory"})
    assert str(Path("/proc/self/ns/net").readlink()) not in (older[-1], newer[-1])
    assert pair[0].ssh is not None
    assert pair[1].ssh is not None
    assert pair[0].ssh.host_key != pair[1].ssh.host_key


def test_a_host_key_is_never_trusted_on_first_use(pair: tuple[Server, Server]) -> None:
    """Whoever shows another key than the one that was put there isn't talked to."""
    ssh = pair[0].ssh
    assert ssh is not None
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    with pytest.raises(InfraError, match="Host key is not trusted"):
        SshTarget(replace(pair[0], ssh=replace(ssh, host_key=other)), connect_within_s=1.0)


def test_packages_can_be_installed(provider: NspawnProvider, pair: tuple[Server, Server]) -> None:
    """Debian's and Python's, through this machine's own configuration, as root would type it on a fresh server."""
    script = """
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq tree >/dev/null 2>&1
tree --version
python3 -m venv /root/venv
/root/venv/bin/pip install -q iniconfig
/root/venv/bin/python -c 'import iniconfig; print("imported")'
"""
    for server in pair:
        said = ask(provider, server, script, timeout_s=240)
        assert said.startswith("tree v")
        assert said.endswith("imported")


def test_a_blanked_server_is_another_host(provider: NspawnProvider, server: Server) -> None:
    """What was written anywhere is gone, the old host is dead, and the proof says by what that is known."""
    before = ask(provider, server, "touch /etc/used /root/used /opt/used /var/lib/used; cat /etc/machine-id")
    old = cgroups.init(unit(server))
    assert old is not None
    blank = provider.blank(server)
    assert processes.look_up(old) is None  # a zombie is nobody
    assert ask(provider, blank, "ls /etc/used /root/used /opt/used /var/lib/used 2>/dev/null; true") == ""
    assert blank.proof["machine id"] == ask(provider, blank, "cat /etc/machine-id") != before
    was, _, now = blank.proof["boot id"].partition(" → ")
    assert was == server.facts["boot"]
    assert now == ask(provider, blank, "cat /proc/sys/kernel/random/boot_id") != was
    assert blank.proof["image"].startswith("debian-12 ")
    assert re.fullmatch(r"\d+ processes killed, none left", blank.proof["old host"])
    assert blank.ssh is not None
    assert server.ssh is not None
    assert blank.ssh.host_key != server.ssh.host_key


def test_the_host_goes_though_its_supervisor_was_killed(provider: NspawnProvider, server: Server) -> None:
    """systemd-nspawn killed by force leaves its host running: blanking ends that host all the same."""
    running = cgroups.init(unit(server))
    assert running is not None
    supervisors = [pid for pid in cgroups.processes(unit(server)) if _name(pid) == "systemd-nspawn"]
    assert supervisors
    for pid in supervisors:
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(InfraError):
        ask(provider, server, "true")  # it may answer still
    blank = provider.blank(server)
    assert processes.look_up(running) is None
    assert ask(provider, blank, "cat /proc/sys/kernel/random/boot_id") != server.facts["boot"]


def test_what_cannot_be_made_blank_is_not_handed_over(provider: NspawnProvider, server: Server) -> None:
    """What it would stand on is gone: `NotBlankError`, and no server."""
    with pytest.raises(NotBlankError, match="there is no snapshot nowhere"):
        provider.blank(replace(server, snapshot="nowhere"))


def test_another_process_finds_keys_labels_and_console(provider: NspawnProvider, server: Server) -> None:
    """By what is on the disk: the reaper, `testlab servers`, and whoever runs a test on a server that was kept."""
    other = NspawnProvider(Settings())
    assert isinstance(other, Reapable)
    (found,) = [owned for owned in other.owned() if owned.name == server.name]
    assert ask(other, found, "hostname") == server.name
    (resource,) = [resource for resource in other.resources() if resource.name == server.name]
    assert (resource.kind, labels.expires_at(resource.labels)) == ("server", UNTIL)
    assert labels.is_disposable(resource.labels)
    other.write_labels(resource, {labels.KEPT: "failed"})
    (again,) = [resource for resource in provider.resources() if resource.name == server.name]
    assert again.labels == {**resource.labels, labels.KEPT: "failed"}
    console = other.console(server)
    assert console is not None
    assert "Accepted publickey for root" in console
    other.remove(resource)
    assert provider.console(server) is None
    with pytest.raises(InfraError):
        provider.write_labels(resource, {labels.KEPT: "failed"})


def test_a_snapshot_is_what_others_start_from(provider: NspawnProvider, yard: Path, server: Server) -> None:
    """The disk as it was; each clone with a machine id and host keys of its own; and the server itself goes on."""
    assert isinstance(provider, Snapshots)
    ask(provider, server, "echo golden >/opt/platform; ln -s /etc/shadow /root/link")
    snapshot = provider.snapshot(server, {**labels.labels_of(run="r", expires_at=UNTIL), labels.DIGEST: "abc"})
    assert ask(provider, server, "cat /opt/platform") == "golden"
    (listed,) = [resource for resource in provider.resources() if resource.kind == "snapshot"]
    assert (listed.id, listed.labels[labels.DIGEST]) == (snapshot, "abc")

    clone = provider.create(request(1, snapshot=snapshot))
    assert clone.snapshot == snapshot
    identity = "cat /opt/platform /etc/machine-id /etc/ssh/ssh_host_ed25519_key"
    of_server, of_clone = (ask(provider, which, identity).splitlines() for which in (server, clone))
    assert of_clone[0] == of_server[0] == "golden"
    assert of_clone[1] != of_server[1]
    assert of_clone[2:] != of_server[2:]
    ask(provider, clone, "echo used >/opt/platform")
    clone = provider.blank(clone)
    assert ask(provider, clone, "cat /opt/platform") == "golden"

    provider.remove(listed)
    assert [resource for resource in provider.resources() if resource.kind == "snapshot"] == []
    assert ask(provider, clone, "cat /opt/platform") == "golden"
    with pytest.raises(InfraError, match="there is no snapshot"):
        provider.create(request(2, snapshot=snapshot))
    provider.destroy(clone)
    assert ask(provider, provider.blank(server), "ls /opt") == ""  # it was made from the image itself
    assert [path for path in hostyard.on_disk(yard) if path.startswith("layers")] == []


def test_what_a_server_is_before_a_platform(provider: NspawnProvider) -> None:
    """Image and recipe, which differ from image to image; no host is needed to know them."""
    older, newer = provider.bare(request()), provider.bare(request(image="debian-13"))
    assert older["image"] == "debian-12"
    assert older["recipe"] != newer["recipe"]


def test_an_unknown_image_is_refused_with_the_nearest_names() -> None:
    """In one line, before anything is made."""
    with pytest.raises(UsageError, match="no image 'debain-13'; did you mean debian-13"):
        NspawnProvider(Settings(provider="nspawn", image="debian-12,debain-13"))


def test_the_shared_set_up_goes_with_the_last_host(provider: NspawnProvider, yard: Path) -> None:
    """Bridge, table, forwarding and all that a host had; and it all comes back with the next one."""
    for resource in provider.resources():
        provider.remove(resource)
    for _ in range(2):
        server = provider.create(request())
        there = hostyard.traces(yard, {unit(server)})
        assert {trace.split()[0] for trace in there} == {"mount", "link", "namespace", "group", "process", "network"}
        assert hostyard.FORWARD.read_text() == "1\n"
        provider.remove(Resource(kind="server", id=server.name, name=server.name, provider="nspawn"))
        assert hostyard.traces(yard, {unit(server)}) == []
        assert hostyard.on_disk(yard) == []


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
