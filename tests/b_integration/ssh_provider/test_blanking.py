"""A server that one already has is handed over only when it is proven blank, and the reason is said when it isn't."""

from __future__ import annotations

import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from openssh import Sshd
from testlab_ssh.provider import SshProvider

from pytest_testlab.errors import InfraError, NotBlankError
from pytest_testlab.target.ssh import SshTarget

LIES = "{ script = 'true' }"


def _refused(provider: SshProvider, ask: Any) -> str:
    with pytest.raises(InfraError) as caught:
        provider.create(ask("r"))
    return str(caught.value)


def test_a_blanking_that_did_nothing_is_found_out(fleet: Any, ask: Any) -> None:
    """The lab's marker is still there: the server isn't handed over, the reason is said, the lease is given back."""
    said = _refused(fleet.provider(blank=LIES), ask)
    assert "web-1 is not blank: it still holds the marker that the lab left before" in said
    assert not fleet.lease().exists()


def test_a_half_blanking_is_found_out(fleet: Any, ask: Any) -> None:
    """Each place that an app writes to has a marker of its own."""
    blank = json.dumps(f'rm -rf {fleet.root()} "$HOME"; mkdir "$HOME"')
    assert "still holds the marker" in _refused(fleet.provider(blank=f"{{ script = {blank} }}"), ask)


def test_a_used_server_is_blanked_and_proven(fleet: Any, ask: Any) -> None:
    """What an app left is gone, the proof says what was looked at, and the script of the inventory is part of it."""
    provider = fleet.provider(proof='{ script = "echo all clean", stdout = "clean" }')
    server = provider.create(ask("r"))
    (fleet.root() / "app").mkdir()
    blank = provider.blank(server)
    assert [file.name.partition("used")[0] for file in fleet.root().iterdir()] == [".testlab-"]
    assert blank.epoch == 1
    assert dict(blank.proof) == {
        "markers": "gone",
        "folder": f"nothing below {fleet.root()}",
        "processes": "none of the lab's",
        "ports": f"nothing listens on {server.facts['ports']}",
        "boot": "the same",
        "script": "exit code 0, prints 'clean'",
    }
    provider.destroy(blank)
    assert not fleet.root().exists()


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (
            {"blank": "{ script = 'echo no space left >&2; exit 7' }"},
            "blank script ended with exit code 7: no space left",
        ),
        ({"blank": "{ script = 'sleep 60', within = '1s' }"}, "its blank script did not end within 1 s"),
        (
            {"blank": "{ command = 'echo no such domain >&2; exit 3' }"},
            "command ended with exit code 3: no such domain",
        ),
        ({"blank": "{ command = 'sleep 60', within = '1s' }"}, "its blank command did not end within 1 s"),
        ({"blank": "{ reboot = 'exit 4' }"}, "its reboot command ended with exit code 4"),
        ({"blank": "{ reboot = 'true', within = '1s' }"}, "not back within 1 s: it did not reboot: its boot id is the"),
        ({"proof": "{ script = 'echo /srv/app; exit 1' }"}, "not blank: its proof ended with exit code 1: /srv/app"),
        ({"proof": "{ script = 'echo dirty', stdout = 'clean' }"}, "did not print 'clean', but: exit code 0: dirty"),
        ({"proof": "{ rebooted = true }"}, "it did not reboot, its boot id is the same"),
    ],
)
def test_what_went_wrong_is_said(fleet: Any, ask: Any, keys: dict[str, str], why: str) -> None:
    """The message names the server and what it said."""
    said = _refused(fleet.provider(**keys), ask)
    assert why in said
    assert "web-1" in said


def test_a_command_of_the_lab_host_can_blank(
    fleet: Any, ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hypervisor's rollback for one. The lease goes with the disk, and comes back; the command sees no secret."""
    monkeypatch.setenv("SOME_TOKEN", "needle")
    folder = fleet.servers[0].folder
    clean = f"env >{tmp_path}/env; rm -rf {folder}/root {folder}/lease; find {folder} -name '.testlab-used-*' -delete"
    provider = fleet.provider(blank=f"{{ command = {json.dumps(clean)} }}")
    server = provider.blank(provider.create(ask("r")))
    assert server.epoch == 1
    environment = (tmp_path / "env").read_text()
    assert "SERVER_NAME=web-1\n" in environment
    assert "needle" not in environment
    assert server.facts["lease"] in fleet.lease().read_text()
    assert server.facts["blanked"] == "1"  # lines of before lead nowhere: other facts say so
    provider.connect(server).close()


def test_whoever_has_a_port_of_the_platforms_is_in_the_way(fleet: Any, ask: Any) -> None:
    """Where the blanking leaves it there, the server isn't blank, and the port is named."""
    clean = f"rm -rf {fleet.root()}; find {fleet.servers[0].folder} -name '.testlab-used-*' -delete"
    provider = fleet.provider(blank=f"{{ command = {json.dumps(clean)} }}")
    server = provider.create(ask("r"))
    port = int(server.facts["ports"].partition("-")[0]) + 3
    refused = pytest.raises(NotBlankError, match=f"web-1 is not blank: it still listens on port {port}")
    with socket.create_server(("127.0.0.1", port)), refused:
        provider.blank(server)


def test_what_hides_from_the_lab_is_found_by_its_port(fleet: Any, ask: Any) -> None:
    """A process without the lab's mark in its environment, such as nginx, is ended with the others."""
    provider = fleet.provider()
    server = provider.create(ask("r"))
    port = int(server.facts["ports"].partition("-")[0]) + 3
    target = SshTarget(server)
    target.run(f"setsid python3 -m http.server --bind 127.0.0.1 {port} </dev/null >/dev/null 2>&1 &", timeout_s=30)
    target.close()
    until = time.monotonic() + 60
    while not _answers(port):
        assert time.monotonic() < until
        time.sleep(0.05)
    provider.blank(server)
    assert not _answers(port)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 10).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_spoiled_server_is_not_tried_again(fleet: Any, ask: Any) -> None:
    """It is given back without another blanking; where no other is free, its fault is the reason that is given."""
    broken = fleet.servers[0].folder / "broken"
    provider = fleet.provider(proof=f"{{ script = 'test ! -e {broken}' }}")
    server = provider.create(ask("r"))
    broken.touch()
    try:
        with pytest.raises(NotBlankError, match="web-1 is not blank: its proof ended with exit code 1"):
            provider.blank(server)
    finally:
        broken.unlink()
    provider.destroy(server)
    assert not fleet.lease().exists()
    assert "web-1 is not blank: its proof ended with exit code 1" in _refused(provider, ask)


def test_a_wrong_host_key_is_no_server_of_ours(fleet: Any, ask: Any) -> None:
    """The key is pinned: nothing is sent to a machine that can't prove that it is the listed one."""
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    provider = fleet.provider(host_key=f'"{other}"')
    provider.connect_within_s = 3.0
    assert "no SSH within 3 s: Host key is not trusted" in _refused(provider, ask)
    assert not fleet.lease().exists()


def test_a_host_key_that_changes_ends_the_trust(fleet: Any, ask: Any, one_sshd: Sshd) -> None:
    """A machine that was put in the place of the listed one in mid-run gets nothing more."""
    provider = fleet.provider()
    server = provider.create(ask("r"))
    provider.connect_within_s = 3.0
    kept = (one_sshd.folder / "host_key").read_bytes()
    one_sshd.stop()
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(one_sshd.folder / "host_key")
    shutil.chown(one_sshd.folder / "host_key", one_sshd.account.pw_uid, one_sshd.account.pw_gid)
    one_sshd.start()
    try:
        with pytest.raises(InfraError, match="Host key is not trusted"):
            provider.connect(server)
    finally:
        one_sshd.stop()
        (one_sshd.folder / "host_key").write_bytes(kept)
        one_sshd.start()


def test_a_dead_server_is_passed_over(fleet: Any, ask: Any, one_sshd: Sshd) -> None:
    """Nobody answers there: said in one line, within bounded time."""
    provider = fleet.provider()
    provider.connect_within_s = 0.5
    one_sshd.stop()
    try:
        assert f"127.0.0.1:{one_sshd.address.port}: no SSH within 0.5 s" in _refused(provider, ask)
    finally:
        one_sshd.start()
