"""A server that one already has is one run's at a time, whichever labs want it, and no dead run keeps it for ever."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pytest_testlab.errors import InfraError, NotBlankError, Taken
from pytest_testlab.options import Settings
from pytest_testlab.pool.leases import Leases
from pytest_testlab.pool.pool import Pool
from pytest_testlab.store.embedded import StoreHandle
from pytest_testlab.store.reads import leases as reads
from pytest_testlab.store.writes import leases as writes

IN_USE = r"server web-1 is in use by run first, cli:alice, until 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
HOLDER = """
    import sys, time
    from pytest_testlab.model import ServerRequest
    from pytest_testlab.options import Settings
    from testlab_ssh.provider import SshProvider

    provider = SshProvider(Settings(home=sys.argv[1], db=sys.argv[2], inventory=sys.argv[3]))
    provider.create(ServerRequest(run="first", slot=0, trigger="cli:alice"))
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other_store(store_server: StoreHandle) -> Iterator[str]:
    """The store of a lab that shares none with the first."""
    engine = store_server.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE another_lab"))
    url = sa.make_url(store_server.url).set(database="another_lab")
    yield url.render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sa.text("DROP DATABASE another_lab WITH (FORCE)"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Settings], subprocess.Popen[str]]]:
    """Starts a process that holds the server until it is killed."""
    script = tmp_path / "holder.py"
    script.write_text(textwrap.dedent(HOLDER))
    started: list[subprocess.Popen[str]] = []

    def holder(settings: Settings) -> subprocess.Popen[str]:
        command = [sys.executable, str(script), str(settings.home), str(settings.db), str(settings.inventory)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout is not None
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield holder
    for process in started:
        process.kill()
        process.wait(90)
        assert process.stdout is not None
        process.stdout.close()


def _soon(get: Callable[[], Any], within_s: float = 60.0) -> Any:
    """Try again while somebody else has the server."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return get()
        except InfraError as error:
            if "in use by" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_a_server_in_use_is_refused_by_name(fleet: Any, ask: Any) -> None:
    """The message says whose it is and until when; given back, it is the next one's."""
    first, second = fleet.provider(), fleet.provider()
    server = first.create(ask("first"))
    with pytest.raises(InfraError, match=IN_USE):
        second.create(ask("second", trigger="cli:bob"))
    first.destroy(server)
    assert not fleet.lease().exists()
    assert second.create(ask("second")).name == "web-1"


def test_labs_without_a_store_in_common_keep_apart(fleet: Any, ask: Any, other_store: str) -> None:
    """The lease on the server itself says so."""
    fleet.provider().create(ask("first"))
    with pytest.raises(InfraError, match=IN_USE):
        fleet.provider(db=other_store).create(ask("second"))


def test_of_many_that_come_at_once_one_gets_it(fleet: Any, ask: Any, other_store: str) -> None:
    """Also of those that share no store; all others are told that it is taken."""
    providers = [fleet.provider(db=other_store if number % 2 else None) for number in range(6)]
    together = threading.Barrier(len(providers))

    def come(number: int) -> str:
        together.wait(60)
        try:
            return providers[number].create(ask(f"run-{number}")).facts["run"]
        except InfraError as error:
            return str(error)

    with ThreadPoolExecutor(len(providers)) as threads:
        told = list(threads.map(come, range(len(providers))))
    winners = [word for word in told if word.startswith("run-")]
    assert len(winners) == 1, told
    assert sum("is in use by" in word for word in told) == len(providers) - 1, told
    assert winners[0] in fleet.lease().read_text()


def test_a_run_killed_by_force_holds_its_server_until_the_lease_ends(fleet: Any, ask: Any, start: Any) -> None:
    """Not longer: the next one gets it then, and blanks it first. Until then it is refused."""
    process = start(fleet.settings(lease="3s"))
    second = fleet.provider(lease="3s")
    with pytest.raises(InfraError, match=IN_USE):
        second.create(ask("second"))
    process.send_signal(signal.SIGKILL)
    process.wait(90)
    assert "first" in fleet.lease().read_text()
    assert _soon(lambda: second.create(ask("second"))).facts["run"] == "second"


def test_a_run_that_lives_keeps_its_server(fleet: Any, ask: Any, start: Any, other_store: str) -> None:
    """Long after the first lease would have ended."""
    start(fleet.settings(lease="6s"))
    first = _until(fleet.lease())
    deadline = time.monotonic() + 60
    while _until(fleet.lease()) < first + 6:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(InfraError, match=IN_USE):
        fleet.provider(db=other_store).create(ask("second"))


def test_what_a_dead_run_left_is_found_and_given_back(fleet: Any, start: Any) -> None:
    """By another process, by the note on the server: blanked, and free again, once the note is past."""
    process = start(fleet.settings(lease="3s"))
    provider = fleet.provider(lease="3s")
    [server] = provider.owned()
    assert server.facts["run"] == "first"
    with pytest.raises(Taken, match=IN_USE):
        provider.destroy(server)
    process.send_signal(signal.SIGKILL)
    process.wait(90)
    assert fleet.root().exists()
    _soon(lambda: provider.destroy(server))
    assert not fleet.root().exists()
    assert list(provider.owned()) == []


def test_a_lease_that_was_lost_ends_the_use(fleet: Any, ask: Any) -> None:
    """A run that slept past its lease finds another's there: it touches the server no more."""
    provider = fleet.provider()
    server = provider.create(ask("first"))
    fleet.lease().write_text("4000000000 abc other cli:bob\n")
    (fleet.root() / "theirs").touch()
    with pytest.raises(InfraError, match="web-1 is not leased to this run any more"):
        provider.connect(server)
    with pytest.raises(NotBlankError, match="in use by run other, cli:bob, until 2096"):
        provider.blank(server)
    provider.destroy(server)
    assert (fleet.root() / "theirs").exists()
    assert "other" in fleet.lease().read_text()
    (fleet.root() / "theirs").unlink()


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_is_no_lease_is_in_nobodys_favour(fleet: Any, ask: Any, tmp_path: Path, kind: str) -> None:
    """A link is not followed, and nothing is overwritten that the lab didn't put there."""
    elsewhere = fleet.servers[0].folder / "elsewhere"
    elsewhere.write_text("precious\n")
    if kind == "link":
        fleet.lease().symlink_to(elsewhere)
    else:
        fleet.lease().mkdir()
    try:
        with pytest.raises(InfraError, match="is not this account's"):
            fleet.provider().create(ask("r"))
    finally:
        fleet.lease().rmdir() if kind == "folder" else fleet.lease().unlink()
    assert elsewhere.read_text() == "precious\n"


def test_a_lease_cut_short_is_none(fleet: Any, ask: Any) -> None:
    """A disk that was full while a lease was written bars nobody from the server."""
    fleet.lease().write_text("")
    shutil.chown(fleet.lease(), fleet.servers[0].account.pw_uid, fleet.servers[0].account.pw_gid)
    assert fleet.provider().create(ask("r")).name == "web-1"


@pytest.fixture
def pool(store: StoreHandle, fleet: Any) -> Iterator[Callable[..., Pool]]:
    """Pools of one target, each of a run of its own, which share the store."""
    pools: list[Pool] = []

    def start(run: str, db: str = store.url) -> Pool:
        leases = Leases(db, run=run, trigger="cli:alice", fenced=lambda *lost: made.fence(*lost), ttl_s=6.0)
        made = Pool(
            fleet.provider(),
            run=run,
            size=1,
            image="",
            changed=lambda slot, at: None,
            trigger="cli:alice",
            leases=leases,
        )
        pools.append(made)
        made.start(1)
        return made

    yield start
    for made in pools:
        made.close()


def test_without_the_store_no_server_is_touched(fleet: Any, pool: Callable[..., Pool]) -> None:
    """Fixed inventories are refused while the store is away."""
    made = pool("r", "postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(InfraError, match="leases need the store, and servers of an inventory need leases"):
        made.wait_ready(made.slots[0], 60)
    assert not fleet.lease().exists()


def test_the_store_keeps_runs_apart_whatever_becomes_of_the_disk(
    fleet: Any, pool: Callable[..., Pool], store: StoreHandle
) -> None:
    """A rollback takes the note away, and the second run is refused all the same; given back, the server is its own."""
    first = pool("first")
    first.wait_ready(first.slots[0], 60)
    fleet.lease().unlink()
    second = pool("second")
    with pytest.raises(InfraError, match=IN_USE):
        second.wait_ready(second.slots[0], 60)
    assert first.close() == []
    third = pool("third")
    assert third.wait_ready(third.slots[0], 60).name == "web-1"
    with store.engine.connect() as connection:
        [lease] = reads.held(connection)
    assert (lease.provider, lease.run, lease.epoch) == ("ssh", "third", 3)
    assert lease.key.startswith("ssh/")


def test_a_run_that_was_fenced_stops(fleet: Any, pool: Callable[..., Pool], store: StoreHandle) -> None:
    """It loses its slot, and neither wipes what is another's nor takes away its lease."""
    first = pool("first")
    first.wait_ready(first.slots[0], 60)
    with store.engine.begin() as connection:
        assert writes.take_away(connection, reads.held(connection)[0].key)
    deadline = time.monotonic() + 60
    while not first.slots[0].fenced:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert first.slots[0].say.startswith("the lease of web-1 was lost: it was ended, under epoch 2")
    (fleet.root() / "theirs").touch()
    first.close()
    assert (fleet.root() / "theirs").exists()
    shutil.rmtree(fleet.root())


def _until(lease: Path) -> int:
    return int(lease.read_text().split()[0])
