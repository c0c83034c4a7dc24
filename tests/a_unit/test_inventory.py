"""The inventory of the provider `ssh` is read strictly: all that is wrong at once, with file, line, key and way out."""

from __future__ import annotations

import re
from pathlib import Path

import asyncssh
import pytest
from testlab_ssh.inventory import read_inventory
from testlab_ssh.provider import SshProvider

from pytest_testlab.errors import CatalogError, UsageError
from pytest_testlab.options import Settings

KEY = asyncssh.generate_private_key("ssh-ed25519")
HOST_KEYS = [asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip() for _ in range(2)]
SERVER = """
[[server]]
name = "web-1"
address = "192.0.2.10"
user = "root"
identity = "key"
host-key = "{host_key}"
disposable = true
blank = {{ command = "true" }}
"""


def _write(folder: Path, text: str, *, passphrase: str | None = None) -> Path:
    key = folder / "key"
    key.touch(0o600)
    kind = "openssh" if passphrase is None else "pkcs8-pem"
    key.write_bytes(KEY.export_private_key(kind, passphrase=passphrase))
    file = folder / "servers.toml"
    file.write_text(text)
    return file


def _problems(folder: Path, text: str, **how: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        read_inventory(_write(folder, text, **how))
    return [str(problem).partition("servers.toml")[2] for problem in caught.value.problems]


def _web_1(**replaced: str) -> str:
    lines = SERVER.format(host_key=HOST_KEYS[0]).strip().splitlines()
    kept = [line for line in lines if line.partition(" ")[0] not in {key.replace("_", "-") for key in replaced}]
    return "\n".join(kept + [f"{key.replace('_', '-')} = {value}" for key, value in replaced.items() if value]) + "\n"


def test_what_is_left_out_has_defaults(tmp_path: Path) -> None:
    """A server needs eight keys; the key is the file's content, found beside the inventory."""
    inventory = read_inventory(_write(tmp_path, _web_1()))
    [listed] = inventory.servers
    assert (listed.name, listed.port, listed.ports, listed.root) == ("web-1", 22, "20000-20049", None)
    assert listed.private_key == (tmp_path / "key").read_text()
    assert listed.ssh.host_key == " ".join(HOST_KEYS[0].split()[:2])
    assert inventory.lease_s == 180
    assert "PRIVATE" not in repr(inventory)


def test_all_is_said_at_once(tmp_path: Path) -> None:
    """Unknown keys with the nearest one, types, what is missing: each with its line."""
    text = 'leese = "3m"\n' + _web_1(port='"22"', disposable="false", adress='"x"') + '[[server]]\nname = "web 2"\n'
    assert _problems(tmp_path, text) == [
        ':1: leese: unknown key; did you mean "lease"? (allowed: known-hosts, lease, server)',
        ":9: server[1].port: expected an integer from 1 to 65535, got a string",
        ":10: server[1].disposable: must be true: the lab wipes this server, again and again, and touches no other",
        ':11: server[1].adress: unknown key; did you mean "address"? (allowed: address, blank, disposable, host-key, '
        "identity, jump, jump-host-key, jump-identity, lease-file, name, port, ports, proof, root, user)",
        ":12: server[2]: address is missing",
        ":12: server[2]: user is missing",
        ":12: server[2]: identity is missing",
        ":12: server[2]: host-key is missing; give it, or known-hosts = a file above the tables",
        ":12: server[2]: disposable is missing: say disposable = true",
        ":12: server[2]: blank is missing",
        ':13: server[2].name: "web 2" is not allowed; allowed: 1 to 63 of a-z, A-Z, 0-9, _, . and -, beginning and '
        "ending with a letter or digit",
    ]


def test_a_server_that_is_not_disposable_is_refused(tmp_path: Path) -> None:
    """Nobody's server is wiped because it was listed: it must say that it may be."""
    [said] = _problems(tmp_path, _web_1(disposable=""))
    assert said == ":1: server[1]: disposable is missing: say disposable = true"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("host_key", '"ssh-ed25519 nonsense"', "is not a public key; expected the server's own"),
        ("host_key", '"SHA256:abc"', "is not a public key"),
        ("identity", '"no-such-key"', "can't be read: No such file or directory"),
        ("blank", "{}", 'needs command = "…" (on the lab host), or script = "…" or reboot = "…" (on the server)'),
        ("blank", '{ command = "a", script = "b" }', "needs command"),
        ("blank", '{ script = "a", within = "1 hour" }', "is not a duration such as"),
        ("proof", "{}", 'needs rebooted = true or script = "…"'),
        ("proof", "{ rebooted = false }", "must be true, or be left out"),
        ("proof", '{ rebooted = true, stdout = "x" }', "there is no script"),
        ("ports", '"22-23"', "is no range of 4 to 1000 ports"),
        ("root", '"/"', "must be an absolute path of two parts or more"),
        ("root", '"/srv/../etc"', "must be an absolute path of two parts or more"),
        ("lease_file", '"lease"', "must be an absolute path of two parts or more"),
        ("address", '"-oProxyCommand=x"', "a host name or an IP address"),
        ("jump", '"bastion"', "is not how one logs in; expected USER@HOST or USER@HOST:PORT"),
        ("jump", '"ops@bastion:0"', "is not how one logs in"),
        ("jump", '"ops@-oProxyCommand=x"', "is not how one logs in"),
        ("jump_identity", '"key"', "is of a jump host, and there is no jump"),
        pytest.param("jump_host_key", f'"{HOST_KEYS[1]}"', "is of a jump host, and there is no jump", id="a host key"),
    ],
)
def test_a_value_that_can_not_be_is_refused(tmp_path: Path, key: str, value: str, why: str) -> None:
    """Before anything is touched; the message names the key and what is expected."""
    said = "\n".join(_problems(tmp_path, _web_1(**{key: value})))
    assert why in said
    assert f"server[1].{key.replace('_', '-')}" in said


def test_each_machine_is_listed_once(tmp_path: Path) -> None:
    """By its name, its address, and its host key: under two names two runs could have it."""
    assert _problems(tmp_path, _web_1() + _web_1()) == [
        ":10: server[2].name: is that of server[1]: each machine is listed once",
        ":11: server[2].address: is that of server[1]: each machine is listed once",
        ":14: server[2].host-key: is that of server[1]: each machine is listed once",
    ]


def test_a_jump_host_has_a_pinned_key_too(tmp_path: Path) -> None:
    """Its identity is the server's own unless another is named; without a key of its host it is refused."""
    text = _web_1(jump='"ops@[2001:db8::1]:2222"', jump_host_key=f'"{HOST_KEYS[1]}"')
    jump = read_inventory(_write(tmp_path, text)).servers[0].ssh.jump
    assert jump is not None
    assert (jump.user, jump.host, jump.port) == ("ops", "2001:db8::1", 2222)
    assert jump.host_key == " ".join(HOST_KEYS[1].split()[:2])
    assert jump.private_key == (tmp_path / "key").read_text()
    assert _problems(tmp_path, _web_1(jump='"ops@bastion"')) == [
        ":1: server[1]: jump-host-key is missing; give it, or known-hosts = a file above the tables"
    ]
    said = "\n".join(_problems(tmp_path, _web_1(jump='"ops@bastion"', jump_identity='"no-such-key"')))
    assert "server[1].jump-identity" in said


def test_keys_can_come_from_a_file_of_known_hosts(tmp_path: Path) -> None:
    """By address and port, the jump host's too; the best kind of key, and none that is revoked."""
    ecdsa = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode().strip()
    lines = [f"192.0.2.10 {ecdsa}", f"192.0.2.10 {HOST_KEYS[0]}", f"[bastion.example]:2222 {HOST_KEYS[1]}"]
    (tmp_path / "known").write_text("\n".join(lines) + "\n")
    text = 'known-hosts = "known"\n' + _web_1(host_key="", jump='"ops@bastion.example:2222"')
    [listed] = read_inventory(_write(tmp_path, text)).servers
    assert listed.ssh.host_key == " ".join(HOST_KEYS[0].split()[:2])
    assert listed.ssh.jump is not None
    assert listed.ssh.jump.host_key == " ".join(HOST_KEYS[1].split()[:2])
    with (tmp_path / "known").open("a") as known:
        known.write(f"@revoked * {HOST_KEYS[0]}\n")
    [listed] = read_inventory(_write(tmp_path, text)).servers
    assert listed.ssh.host_key == " ".join(ecdsa.split()[:2])


def test_a_server_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    """What to type is said; a file that can't be read is one line too, as is one that is something else."""
    text = 'known-hosts = "known"\n' + _web_1(host_key="", port="2222")
    [said] = _problems(tmp_path, text)
    assert said.endswith("known can't be read: No such file or directory")
    (tmp_path / "known").write_text(f"192.0.2.11 {HOST_KEYS[0]}\n")
    [said] = _problems(tmp_path, text)
    assert said.endswith("has no key of [192.0.2.10]:2222; type: ssh-keyscan -p 2222 192.0.2.10")
    (tmp_path / "known").write_text("nonsense\n")
    [said] = _problems(tmp_path, text)
    assert "is no known_hosts file" in said


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The message says what to type."""
    file = _write(tmp_path, _web_1())
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(CatalogError, match="can be read by others; type: chmod 600"):
        read_inventory(file)


def test_a_locked_key_is_refused(tmp_path: Path) -> None:
    """Nobody is there at night to unlock it."""
    [said] = _problems(tmp_path, _web_1(), passphrase="secret")
    assert "is locked with a passphrase" in said


def test_an_inventory_must_be_named() -> None:
    """One line that says what to write."""
    with pytest.raises(UsageError, match=r"name a file with --testlab-inventory that has a \[\[server\]\] table"):
        SshProvider(Settings())


def test_a_pool_larger_than_the_inventory_is_refused(tmp_path: Path) -> None:
    """Before anything is connected to."""
    file = _write(tmp_path, _web_1())
    with pytest.raises(UsageError, match=r"--testlab-pool 2 is more than the servers of .*servers.toml, which lists 1"):
        SshProvider(Settings(inventory=str(file), pool=2))


def test_the_guide_is_right(tmp_path: Path) -> None:
    """The inventory that it shows can be read as it stands."""
    page = Path(__file__).resolve().parents[2] / "docs" / "guide" / "servers.md"
    text, jumps = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    inventory = read_inventory(_write(tmp_path, text.replace("~/.ssh/testlab", "key")))
    assert [listed.name for listed in inventory.servers] == ["web-1", "web-2"]
    (tmp_path / "known").write_text(f"10.0.0.3 {HOST_KEYS[0]}\nbastion.example {HOST_KEYS[1]}\n")
    rest = 'user = "root"\nidentity = "key"\ndisposable = true\nblank = { script = "true" }\n'
    inventory = read_inventory(_write(tmp_path, jumps.replace("~/.ssh/known_hosts", "known") + rest))
    assert inventory.servers[0].ssh.jump is not None
