"""One PostgreSQL data folder: made once, started and stopped, reached by nobody but its owner over a unix socket."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import sqlalchemy as sa

from pytest_testlab.errors import InfraError, UsageError
from pytest_testlab.store.binaries import Binaries, find_binaries
from pytest_testlab.store.home import Account, make_folder

OWNER = "testlab"
"""The role that owns everything, and the name of the database."""
LONGEST_SOCKET = 107
SOCKET_NAME = ".s.PGSQL.5432"
START_S = 60.0
STOP_S = 30.0
SILENT_S = 5.0
"""How long a new postmaster may take until it has noted its pid; where it gives up it says so in its log."""
DEAD_PREDECESSOR = ("lock file", "shared memory", "is being used by another", "unexpected postmaster exit")
"""What PostgreSQL's refusals say while a killed postmaster or its children are still about, and what those say."""
CONFIGURATION = """
# Written by testlab: reached over the unix socket only, and only by the user in pg_ident.conf.
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = 64MB
wal_level = minimal
max_wal_senders = 0
max_wal_size = 512MB
jit = off
log_min_messages = warning
"""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A data folder below `folder`, its log, and where its socket is."""

    folder: Path
    """Owned by `account`, closed to everyone else."""
    notes: Path
    """Ours: remembers the socket's folder when that must be elsewhere."""
    account: Account | None
    """Whom it runs as; None = ourselves."""

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the postmaster says."""
        return self.folder / "server.log"

    # --- making it ---------------------------------------------------------------------------------------------------

    def binaries(self) -> Binaries:
        """The programs that fit the data folder; raises `UsageError` when there are none."""
        made_by = self.data / "PG_VERSION"
        return find_binaries(int(made_by.read_text()) if made_by.exists() else None)

    def make(self) -> None:
        """Make the data folder unless it is there; a start that was cut short is begun again."""
        make_folder(self.folder, 0o700, self.account)
        if (self.data / "PG_VERSION").exists():
            return
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        arguments = ["--pgdata", str(unfinished), "--username", OWNER, "--encoding", "UTF8", "--locale", "C"]
        self._postgres("initdb", *arguments, "--auth", "peer", "--data-checksums", "--no-instructions", timeout_s=120)
        self._write(unfinished / "postgresql.conf", CONFIGURATION, append=True)
        self._write(unfinished / "pg_hba.conf", "local all all peer map=testlab\n")
        self._write(unfinished / "pg_ident.conf", f"testlab {pwd.getpwuid(os.geteuid()).pw_name} {OWNER}\n")
        unfinished.rename(self.data)

    def _write(self, path: Path, text: str, *, append: bool = False) -> None:
        """Written by the account itself: root following a link that the account left there could be led anywhere."""
        how = 'cat >> "$1"' if append else 'cat > "$1"'
        self._run("/bin/sh", "-c", how, "sh", str(path), text=text, timeout_s=30)

    # --- the socket --------------------------------------------------------------------------------------------------

    def socket_folder(self) -> Path:
        """Where the socket is: in our own folder, or in a short private one that `notes` remembers."""
        own = self.folder / "socket"
        if len(os.fsencode(own / SOCKET_NAME)) <= LONGEST_SOCKET:
            make_folder(own, 0o700, self.account)
            return own
        if self.notes.exists():
            remembered = Path(self.notes.read_text())
            if self._is_private(remembered):
                return remembered
        made = Path(tempfile.mkdtemp(prefix="testlab-", dir="/tmp"))  # short is the point, and mkdtemp is private
        if self.account is not None:
            os.chown(made, self.account.uid, self.account.gid)
        self.notes.write_text(str(made))
        return made

    def _is_private(self, folder: Path) -> bool:
        try:
            found = folder.lstat()
        except OSError:
            return False
        return found.st_mode == 0o40700 and found.st_uid == (self.account.uid if self.account else os.geteuid())

    def url(self) -> str:
        """The store's address, in words that psql understands too."""
        query = {"host": str(self.socket_folder()), "port": "5432"}
        return sa.URL.create("postgresql", username=OWNER, database=OWNER, query=query).render_as_string()

    # --- running it --------------------------------------------------------------------------------------------------

    def answers(self) -> bool:
        """Whether it takes connections and its database is there."""
        return self._try() == ""

    def _try(self, database: str = OWNER) -> str:
        """Empty when it answers; else what it says."""
        where = {"host": str(self.socket_folder()), "port": "5432", "user": OWNER, "dbname": database}
        try:
            psycopg.connect(**where, connect_timeout=10).close()  # type: ignore[arg-type]  # all are words
        except psycopg.OperationalError as error:
            return str(error).strip() or "no answer"
        return ""

    def start(self) -> None:
        """Start it and wait until it answers; raises `InfraError` with what it said last when it doesn't.

        A postmaster that was killed stays a zombie until it is reaped, and its children live a little longer: until
        then PostgreSQL refuses, and is asked again.
        """
        deadline = time.monotonic() + START_S
        self._trim_log()
        while True:
            self._clear_foreign_pid()
            log_from = self.log.stat().st_size if self.log.exists() else 0
            self._pg_ctl("start", "-W", "-s", "-l", str(self.log), "-o", f"-k '{self.socket_folder()}'")
            say = self._wait(deadline, log_from)
            if not say:
                return
            if time.monotonic() > deadline or not any(word in say for word in DEAD_PREDECESSOR):
                raise InfraError(f"the embedded PostgreSQL doesn't start: {say}; its log is {self.log}")
            time.sleep(0.2)

    def _wait(self, deadline: float, log_from: int) -> str:
        """Empty once it answers; else why it ended."""
        say = ""
        silent_until = time.monotonic() + SILENT_S
        while time.monotonic() < deadline:
            say = self._try()
            if f'database "{OWNER}" does not exist' in say:
                self._create_database()
                continue
            if not say:
                return ""
            fatal = self._last_words(log_from)
            if self.postmaster() is None and (fatal or time.monotonic() > silent_until):
                return fatal or say
            time.sleep(0.01)
        return say or "no answer"

    def _create_database(self) -> None:
        where = {"host": str(self.socket_folder()), "port": "5432", "user": OWNER, "dbname": "postgres"}
        connect = psycopg.connect(**where, autocommit=True, connect_timeout=10)  # type: ignore[arg-type]
        with connect as connection, contextlib.suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(f"CREATE DATABASE {OWNER}")

    def stop(self) -> None:
        """Stop it, cutting off whoever is connected; stopped already = done."""
        if self.postmaster() is None:
            return
        told = self._pg_ctl("stop", "-s", "-m", "fast", "-w", "-t", str(int(STOP_S)))
        if self.postmaster() is not None:
            raise InfraError(f"the embedded PostgreSQL doesn't stop: {told}; its log is {self.log}")

    def postmaster(self) -> int | None:
        """The pid of the running postmaster; None when there is none (a zombie doesn't run)."""
        process = self._noted_process()
        if process is None:
            return None
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and "postgres" in process.name():
                return int(process.pid)
        return None

    def _noted_process(self) -> psutil.Process | None:
        try:
            return psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
        except (OSError, ValueError, IndexError, psutil.Error):
            return None

    def _clear_foreign_pid(self) -> None:
        """Forget a postmaster.pid whose number is another program's by now: PostgreSQL would refuse for ever."""
        process = self._noted_process()
        if process is None:
            return
        with contextlib.suppress(psutil.Error):
            if "postgres" not in process.name():
                (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _trim_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > 10_000_000:
            self.log.rename(self.log.with_suffix(".log.1"))

    def _last_words(self, log_from: int) -> str:
        """The last reason to give up in the log, from a byte on."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(log_from)
            lines = file.read().decode(errors="replace").splitlines()
            fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
            return fatal[-1] if fatal else ""
        return ""

    def _pg_ctl(self, *arguments: str) -> str:
        return self._postgres("pg_ctl", "-D", str(self.data), *arguments, timeout_s=STOP_S + 10, check=False)

    def _postgres(self, program: str, *arguments: str, timeout_s: float, check: bool = True) -> str:
        return self._run(self.binaries()[program], *arguments, timeout_s=timeout_s, check=check)

    def _run(self, program: str, *arguments: str, timeout_s: float, text: str = "", check: bool = True) -> str:
        """Run a program as the account, with nothing of our environment; returns what it said, where that is checked.

        What starts the postmaster isn't listened to: the postmaster would hold the pipe open for ever.
        """
        account = self.account
        try:
            done = subprocess.run(
                [program, *arguments],
                input=text.encode(),
                stdout=subprocess.PIPE if check else subprocess.DEVNULL,
                stderr=subprocess.STDOUT if check else subprocess.DEVNULL,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                start_new_session=True,
                timeout=timeout_s,
                umask=0o077,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise InfraError(f"{program} of the embedded PostgreSQL: {error}") from error
        say = (done.stdout or b"").decode(errors="replace").strip()
        if check and done.returncode != 0:
            # The cause is seldom in the very last line, where initdb says that it tidies up.
            last = " | ".join(say.splitlines()[-3:])
            raise UsageError(f"{program} failed: {last or f'exit code {done.returncode}'}")
        return say or f"exit code {done.returncode}"
