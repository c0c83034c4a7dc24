"""Whole sessions on servers that one already has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from inventories import sshds, write_inventory
from openssh import Sshd
from sessions import LabSession
from testlab_ssh.provider import SshProvider

from pytest_testlab.model import ServerRequest
from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import StoreHandle

PAGE = """
[run]
static = "."

[[checks]]
http = "/page.html"
contains = "a page"
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Sshd]]:
    with sshds(2) as servers:
        yield servers


@pytest.fixture
def lab(pytester: pytest.Pytester, store: StoreHandle, monkeypatch: pytest.MonkeyPatch, lab_home: Path) -> LabSession:
    monkeypatch.setenv("TESTLAB_DATABASE_URL", store.url)
    monkeypatch.setenv("TESTLAB_HOME", str(lab_home))
    return LabSession(pytester, store)


def _is_free(server: Sshd) -> bool:
    left = [path.name for path in server.folder.iterdir() if path.name in ("lease", "root")]
    return not left and not list((server.folder / "home").iterdir())


def test_a_run_uses_and_gives_back(lab: LabSession, servers: list[Sshd], tmp_path: Path) -> None:
    """Two targets, three entries, the platform procfile: each on a server proven blank, and nothing of it stays."""
    for name in ("alpha", "beta", "gamma"):
        (lab.entry(name, PAGE) / "page.html").write_text("a page\n")
    file = write_inventory(tmp_path / "inventory", servers)
    result = lab.run("--testlab-inventory", str(file), pool=2, provider="ssh")
    assert result.ret == 0, result.stdout.str()
    assert set(lab.statuses().values()) == {"passed"}
    assert all(map(_is_free, servers))
    assert lab.latest().provider == "ssh"


def test_a_run_comes_through_a_jump_host(lab: LabSession, servers: list[Sshd], tmp_path: Path) -> None:
    """Servers that only another one reaches: the same outcomes, through it."""
    (lab.entry("alpha", PAGE) / "page.html").write_text("a page\n")
    jump = servers[1].address
    (tmp_path / "jump-key").touch(0o600)
    (tmp_path / "jump-key").write_text(jump.private_key)
    (tmp_path / "known").write_text(f"[127.0.0.1]:{jump.port} {jump.host_key}\n")
    keys = {"jump": f'"{jump.user}@127.0.0.1:{jump.port}"', "jump-identity": '"../jump-key"'}
    file = write_inventory(tmp_path / "inventory", servers[:1], keys=keys)
    file.write_text('known-hosts = "../known"\n' + file.read_text())
    result = lab.run("--testlab-inventory", str(file), provider="ssh")
    assert result.ret == 0, result.stdout.str()
    assert set(lab.statuses().values()) == {"passed"}
    assert _is_free(servers[0])


def test_a_run_without_a_free_server_ends_loudly(
    lab: LabSession, servers: list[Sshd], tmp_path: Path, store: StoreHandle, lab_home: Path
) -> None:
    """Exit code 6, and a line that says who has it; the other run's server is left alone."""
    lab.entry("alpha")
    file = write_inventory(tmp_path / "inventory", servers[:1])
    other = SshProvider(Settings(home=str(lab_home), db=store.url, inventory=str(file)))
    server = other.create(ServerRequest(run="theirs", slot=0, trigger="cli:bob"))
    result = lab.run("--testlab-inventory", str(file), "--testlab-platform", "memory", provider="ssh")
    assert result.ret == 6
    assert "server web-1 is in use by run theirs, cli:bob, until" in result.stdout.str()
    other.connect(server).close()
    other.destroy(server)
    other.close()


def test_what_the_user_can_mend_is_one_line(lab: LabSession) -> None:
    """Exit code 4, before anything is started."""
    lab.entry("alpha")
    result = lab.run(provider="ssh")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*the provider ssh needs an inventory: name a file with --testlab-inventory that*"])
