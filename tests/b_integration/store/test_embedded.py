"""The embedded PostgreSQL: shared by sessions, safe against their sudden death, closed to other users."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from pytest_testlab.errors import InfraError, UsageError
from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import EmbeddedPostgres, open_store
from pytest_testlab.store.home import home

HOLDER = """
import sys, time
from pathlib import Path
from pytest_testlab.store.embedded import EmbeddedPostgres
embedded = EmbeddedPostgres(Path(sys.argv[1]))
print(embedded.start(), flush=True)
sys.stdin.read()
embedded.release()
"""


@contextlib.contextmanager
def new_home() -> Iterator[Path]:
    """A home, stopped and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="tl-", dir="/tmp", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        folder = home(Settings(home=f"{name}/lab"))
        yield folder
        EmbeddedPostgres(folder).stop()


@pytest.fixture(scope="module")
def made_home() -> Iterator[Path]:
    """A home with a server that was started once: making its data folder takes longer than most of these tests."""
    with new_home() as folder:
        open_store(Settings(home=str(folder))).close()
        yield folder


@pytest.fixture
def own_home(made_home: Path) -> Iterator[Path]:
    """That home, with its server stopped before and after."""
    assert not EmbeddedPostgres(made_home).status().running
    yield made_home
    EmbeddedPostgres(made_home).stop()


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another session that holds a share until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


def leave(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait(90)
    process.stdout.close()


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def test_the_last_one_out_stops_it(own_home: Path) -> None:
    """Sessions share one server; it runs as long as any of them."""
    first, second = EmbeddedPostgres(own_home), EmbeddedPostgres(own_home)
    url = first.start()
    other = holder(own_home)
    assert second.start() == url
    pid = first.status().pid
    first.release()
    second.release()
    assert answers(url)
    assert second.status().pid == pid
    leave(other)
    assert not answers(url)
    assert not second.status().running


def test_it_outlives_sessions_while_it_is_pinned(own_home: Path) -> None:
    """`db start` keeps it; `db stop` leaves it to those who still use it."""
    embedded = EmbeddedPostgres(own_home)
    url = embedded.pin()
    embedded.release()
    assert answers(url)
    assert EmbeddedPostgres(own_home).status().pinned
    other = holder(own_home)
    assert EmbeddedPostgres(own_home).stop() is False
    assert answers(url)
    leave(other)
    assert not answers(url)


def test_a_killed_session_leaves_it_usable(own_home: Path) -> None:
    """After kill -9 of the only holder the next session finds the server, and stops it when it leaves."""
    other = holder(own_home)
    other.kill()
    leave(other)
    embedded = EmbeddedPostgres(own_home)
    assert embedded.status().running
    url = embedded.start()
    embedded.release()
    assert not answers(url)


def test_a_killed_server_is_started_again(own_home: Path) -> None:
    """After kill -9 of the postmaster the next start succeeds, and what was committed is there."""
    embedded = EmbeddedPostgres(own_home)
    with psycopg.connect(embedded.start()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    pid = embedded.status().pid
    assert pid is not None
    children = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs(children, timeout=20)
    again = EmbeddedPostgres(own_home)
    with psycopg.connect(again.start()) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    embedded.release()
    again.release()


def test_what_a_killed_server_left_is_waited_for(own_home: Path) -> None:
    """A child that has not noticed yet keeps the next server from starting; its own last words are no refusal."""
    embedded = EmbeddedPostgres(own_home)
    connection = psycopg.connect(embedded.start())
    pid = embedded.status().pid
    assert pid is not None
    backend = connection.info.backend_pid
    children = psutil.Process(pid).children(recursive=True)
    os.kill(backend, signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGKILL)
        again = EmbeddedPostgres(own_home)
        with ThreadPoolExecutor(1) as threads:
            url = threads.submit(again.start)
            time.sleep(1)  # for a first try: not a deadline, whatever it comes to
            os.kill(backend, signal.SIGCONT)
            psycopg.connect(url.result(60)).close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(backend, signal.SIGCONT)
    psutil.wait_procs(children, timeout=20)
    connection.close()
    embedded.release()
    again.release()


def test_a_pid_file_that_names_another_program_is_no_obstacle(own_home: Path) -> None:
    """After a reboot the number in postmaster.pid may be anybody's."""
    embedded = EmbeddedPostgres(own_home)
    embedded.start()
    pid_file = embedded.status().data / "postmaster.pid"
    text = pid_file.read_text()
    embedded.release()
    pid_file.write_text(text.replace(text.split()[0], str(os.getpid()), 1))
    url = embedded.start()
    assert answers(url)
    embedded.release()


def test_a_first_start_that_was_cut_short_is_begun_again() -> None:
    """Half a data folder is never taken for a whole one."""
    with new_home() as folder:
        half = folder / "pg" / "data.new"
        half.mkdir(parents=True)
        (half / "PG_VERSION").write_text("15\n")
        embedded = EmbeddedPostgres(folder)
        assert answers(embedded.start())
        assert not half.exists()
        embedded.release()


def test_a_home_with_a_long_path_gets_a_short_socket() -> None:
    """A unix socket's path has at most 107 bytes; the short folder is private, and found again by others."""
    with tempfile.TemporaryDirectory(prefix="tl-", dir="/tmp", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        folder = home(Settings(home=f"{name}/{'long-' * 20}/lab"))
        first, second = EmbeddedPostgres(folder), EmbeddedPostgres(folder)
        url = first.start()
        assert second.start() == url
        socket_folder = Path(psycopg.conninfo.conninfo_to_dict(url)["host"])  # type: ignore[arg-type]  # a word
        assert len(str(socket_folder)) < 40
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
        first.release()
        second.release()
        socket_folder.rmdir()


def test_nobody_else_gets_in(own_home: Path) -> None:
    """No port is open, and only the owner's own user passes the socket's folder and the login."""
    embedded = EmbeddedPostgres(own_home)
    url = embedded.start()
    data = embedded.status().data
    assert stat.S_IMODE(data.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((own_home / "runs").stat().st_mode) == 0o700
    assert "trust" not in [word for line in (data / "pg_hba.conf").read_text().splitlines() for word in line.split()]
    pid = embedded.status().pid
    assert pid is not None
    assert psutil.Process(pid).net_connections(kind="inet") == []
    environ = psutil.Process(pid).environ()
    assert not [name for name in environ if name.startswith("TESTLAB_")]
    if os.geteuid() == 0:
        path = parse_qs(urlsplit(url).query)["host"][0] + "/.s.PGSQL.5432"
        assert Path(path).is_socket()
        connect = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})"
        # The machine's own Python: root's virtual environment may be out of that account's reach.
        command = [os.path.realpath(sys.executable), "-I", "-c", connect]
        as_nobody = subprocess.run(
            command,
            user="nobody",
            group="nogroup",
            extra_groups=(),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert as_nobody.returncode != 0
        assert "Permission denied" in as_nobody.stderr
    embedded.release()


def test_a_warm_start_is_quick(own_home: Path) -> None:
    """A session does not wait for its store: 0.3 s, with room for a busy machine."""
    settings = Settings(home=str(own_home))
    times = []
    for _ in range(3):
        begun = time.monotonic()
        handle = open_store(settings)
        times.append(time.monotonic() - begun)
        handle.close()
    assert min(times) < 0.6


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another account")
def test_as_root_a_home_that_the_account_cannot_reach_is_refused() -> None:
    """One line names the directory that bars the way."""
    with tempfile.TemporaryDirectory(prefix="tl-", dir="/tmp") as name:
        folder = home(Settings(home=f"{name}/lab"))
        with pytest.raises(UsageError, match=f"can't pass {name} to reach {name}/lab/pg"):
            EmbeddedPostgres(folder)


def test_a_server_that_refuses_says_why_at_once(own_home: Path) -> None:
    """What PostgreSQL itself has against a start is in the message, without a minute of waiting."""
    data = EmbeddedPostgres(own_home).status().data
    data.chmod(0o755)
    begun = time.monotonic()
    with pytest.raises(InfraError, match=r"doesn't start: .*has invalid permissions; its log is .*server\.log"):
        EmbeddedPostgres(own_home).start()
    data.chmod(0o700)
    assert time.monotonic() - begun < 20
