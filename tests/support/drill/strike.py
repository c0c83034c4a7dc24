"""A pytest plugin, `-p drill.strike`: hits a process when the session passes a named point. xdist gives it to workers.

It wraps methods of the real classes, and changes nothing else; what is to be done stands in DRILL_STRIKE.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import inspect
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drill.case import CONTROLLER, GUARD, POSTGRES, REAPER, RECOVERY, TARGET, WORKER, Case

PLACES: dict[str, tuple[str, ...]] = {
    "collection": ("pytest_testlab.catalog.nodes:EntryFile.collect",),
    "provisioning": ("testlab_local.provider:LocalProvider.create", "pytest_testlab.testing:MemoryProvider.create"),
    "upload": ("pytest_testlab.target.ssh:SshTarget.upload",),
    "build": (
        "pytest_testlab.platform.procfile:ProcfilePlatform._build",
        "pytest_testlab.testing:MemoryPlatform.deploy",
    ),
    "check": ("pytest_testlab.catalog.checks:_Runner.run",),
    "collecting": ("pytest_testlab.catalog.lab:Lab._collect",),
    "journal": ("pytest_testlab.recording.journal:Journal.append",),
    "store": ("pytest_testlab.recording.drain:Drain._put",),
    "finish": ("pytest_testlab.session.run:Run.finish",),
    "migration": ("alembic.operations:Operations.create_table",),
    "intent": ("pytest_testlab.pool.pool:Pool._provision",),
    "create": ("testlab_hetzner.provider:HetznerProvider.create",),
    "order": ("testlab_hetzner.servers:Servers.order",),
    "first boot": ("testlab_hetzner.provider:HetznerProvider._proven",),
    "lease": ("pytest_testlab.pool.leases:Leases.hold",),
    "install": ("pytest_testlab.catalog.lab:Lab.use",),
    "blank": ("testlab_hetzner.provider:HetznerProvider.blank",),
    "rebuild": ("testlab_hetzner.servers:Servers.rebuild",),
    "renew": ("pytest_testlab.pool.reaper:.renew",),
    "destroy": ("testlab_hetzner.provider:HetznerProvider.destroy",),
    "delete": ("testlab_hetzner.servers:Servers._delete",),
    "sweep": ("pytest_testlab.pool.reaper:.sweep",),
}
BESIDE = {**PLACES, "migration": ("pytest_testlab.store.migrate:.upgrade",)}
"""For a second session: its store has its tables already, so that it only comes by."""
SILENT_S = 6.0
"""Silence after which a worker counts as hung, in place of half a minute."""
SIGNALS = {
    "kill -9": signal.SIGKILL,
    "torn tail": signal.SIGKILL,
    "SIGTERM": signal.SIGTERM,
    "SIGSTOP": signal.SIGSTOP,
    "SIGINT": signal.SIGINT,
    "SIGINT twice": signal.SIGINT,
}


class Scene:
    """The folder in which a session's processes tell the drill, and each other, who they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def enter(self, role: str, slot: int) -> None:
        """Say who this process is."""
        (self.folder / f"{role}-{slot}-{os.getpid()}.pid").touch()

    def pids(self, role: str) -> list[int]:
        """Live processes of a role, newest last."""
        found = sorted(self.folder.glob(f"{role}-*.pid"), key=lambda path: path.stat().st_mtime_ns)
        return [pid for path in found if is_running(pid := int(path.stem.rpartition("-")[2]))]

    def targets(self) -> list[tuple[str, int]]:
        """Name and pid of the SSH server of each live local target."""
        from testlab_local import places, records

        from pytest_testlab.options import Settings
        from pytest_testlab.store.home import home

        base = places.base(home(Settings(home=os.environ["TESTLAB_HOME"])))
        return [(one.name, one.pid) for one in records.every(base) if one.pid and is_running(one.pid)]

    @property
    def struck(self) -> Path:
        """There once the victim was hit."""
        return self.folder / "struck"

    def passing(self) -> int:
        """Count a passing of the point; returns its number."""
        handle = os.open(self.folder / "passed", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, b".")
            return os.lseek(handle, 0, os.SEEK_CUR)
        finally:
            os.close(handle)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in b"ZX"
    return False


def find(scene: Scene, case: Case, *, own_slot: int | None = None) -> int | None:
    """The victim's pid; None when there is none now."""
    if case.victim == POSTGRES:
        return _postmaster()
    if case.victim in (TARGET, GUARD):
        targets = scene.targets()
        own = [pid for name, pid in targets if own_slot is not None and name.endswith(f"-{own_slot}")]
        pids = own or [pid for _, pid in targets]
    else:
        pids = scene.pids(CONTROLLER if case.victim in (RECOVERY, REAPER) else case.victim)
    if not pids:
        return None
    pid = pids[case.number % len(pids)]
    return pid if case.victim != GUARD else _parent(pid)


def _postmaster() -> int | None:
    from pytest_testlab.store.embedded import EmbeddedPostgres

    return EmbeddedPostgres(Path(os.environ["TESTLAB_HOME"])).status().pid


def _parent(pid: int) -> int | None:
    from testlab_local import processes

    found = processes.look_up(pid)
    return None if found is None else found.parent


def hit(scene: Scene, case: Case, pid: int) -> None:
    """Do to a process what the case says; noted before, as this process may be the one."""
    scene.struck.write_text(json.dumps({"pid": pid, "by": os.getpid()}))
    if case.act.startswith("SIGINT"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGINT)  # as a terminal does: the session and its workers, in one group
    elif case.act in SIGNALS:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, SIGNALS[case.act])


class Strike:
    """Waits for the point in this process."""

    def __init__(self, config: pytest.Config, case: Case, folder: Path) -> None:
        told = getattr(config, "workerinput", {}).get("testlab")
        self.role = WORKER if told else CONTROLLER
        self.slot: int | None = told["slot"] if told else None
        self.case = case
        self.scene = Scene(folder)
        own = os.environ.get("DRILL_BESIDE") is None
        if own:
            self.scene.enter(self.role, self.slot or 0)
        if case.act == "SIGSTOP" and self.role == CONTROLLER:
            with contextlib.suppress(ImportError):
                watchdog = importlib.import_module("pytest_testlab.distribution.watchdog")
                watchdog.SILENT_S = watchdog.START_S = SILENT_S  # type: ignore[attr-defined]
        if case.provider == "hetzner":
            _hurry(float(os.environ["DRILL_LIFE_S"]), real=case.hosts == "nspawn")
        if case.beside is own:
            return
        for place in BESIDE.get(case.point, ()) if case.beside else PLACES.get(case.point, ()):
            self._wrap(place)

    # --- the point ----------------------------------------------------------------------------------------------------

    def _wrap(self, place: str) -> None:
        module, _, path = place.partition(":")
        owner, _, method = path.partition(".")
        cls = importlib.import_module(module)
        if owner:
            cls = getattr(cls, owner)
        original = getattr(cls, method)
        generates = inspect.isgeneratorfunction(original)

        @functools.wraps(original)
        def passed(*args: Any, **kwargs: Any) -> Any:
            with self._passing():
                result = original(*args, **kwargs)
                return list(result) if generates else result

        setattr(cls, method, passed)

    @contextlib.contextmanager
    def _passing(self) -> Iterator[None]:
        due = self._counts() and self.scene.passing() == self.case.nth
        if due and self.case.when == "before":
            self._strike()
        elif due and self.case.when == "during":
            timer = threading.Timer(self.case.delay_s, self._strike)
            timer.daemon = True
            timer.start()
        yield
        if due and self.case.when == "after":
            self._strike()

    def _counts(self) -> bool:
        """Whether this passing counts: those before there is a victim don't."""
        if self.scene.struck.exists():
            return False
        if self.case.act == "store away" or self.case.victim == self.role:
            return True
        if self.case.when == "after" and self.case.point == "provisioning":
            return True
        return find(self.scene, self.case, own_slot=self.slot) is not None

    def _strike(self) -> None:
        if self.case.act == "store away":
            self.scene.struck.touch()  # the drill itself does it
        elif self.case.act == "cut SSH":
            _cut(self.scene)
        elif self.case.victim == self.role:
            hit(self.scene, self.case, os.getpid())
        elif (pid := find(self.scene, self.case, own_slot=self.slot)) is not None:
            hit(self.scene, self.case, pid)

    # --- hooks --------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Iterator[None]:
        """A worker's own end is its point `finish`."""
        if self.role == WORKER and self.case.point == "finish" and self.case.victim == WORKER:
            with self._passing():
                return (yield)
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write down what the controller was told came of a test."""
        result = getattr(report, "testlab", None)
        if result is not None and self.role == CONTROLLER and os.environ.get("DRILL_BESIDE") is None:
            with (self.scene.folder / "reported").open("a") as ledger:
                ledger.write(json.dumps([result["test"], result["status"]]) + "\n")


def _hurry(life_s: float, *, real: bool) -> None:
    """A cloud a hundred times as fast is asked more often and given up sooner; what a run has expires sooner.

    Not so `real` hosts: their first boot takes what it takes on a busy machine.
    """
    with _without("HCLOUD_TOKEN"):  # as in a session: it has left the environment when this is imported
        from testlab_hetzner import provider, times

    from pytest_testlab.pool import pool, upkeep

    quick = times.Times(start=15.0, ssh=12.0, first_boot=12.0, create=60.0, call=30.0, gone=10.0, refusal=20.0)
    if real:
        quick = dataclasses.replace(quick, ssh=60.0, first_boot=60.0)
    setattr(provider, "Times", lambda: quick.faster(20.0))  # noqa: B010 - mypy knows it as a class
    defaults = upkeep.Upkeep.__init__.__kwdefaults__
    assert defaults is not None
    defaults["lifetime_s"] = life_s
    pool.Pool.close.__defaults__ = (30.0,)  # or a server that the cloud has locked for good is tried for two minutes
    _keep_ports_apart(provider.HetznerProvider)


@contextlib.contextmanager
def _without(name: str) -> Iterator[None]:
    """What is imported meanwhile starts children, and they must not have it."""
    value = os.environ.pop(name, None)
    yield
    if value is not None:
        os.environ[name] = value


def _keep_ports_apart(cls: Any) -> None:
    """Hosts that stand in for servers have one loopback between them: each gets a block of its own, held from here."""
    from testlab_local import ports

    original = cls._server
    blocks: dict[int, tuple[socket.socket, range]] = {}

    @functools.wraps(original)
    def served(self: Any, machine: Any, *args: Any) -> Any:
        if machine.id not in blocks:
            blocks[machine.id] = ports.claim()
        block = blocks[machine.id][1]
        server = original(self, machine, *args)
        return dataclasses.replace(server, facts={**server.facts, "ports": f"{block[0]}-{block[-1]}"})

    cls._server = served


def _cut(scene: Scene) -> None:
    """Cut the TCP connections of this process that lead to a target's SSH server."""
    cut = 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - only the numbers
        with contextlib.suppress(OSError):
            line = socket.socket(fileno=os.dup(int(name)))
            with line:
                if line.family == socket.AF_INET and line.getpeername()[1] in _ports():
                    line.shutdown(socket.SHUT_RDWR)
                    cut += 1
    if cut:
        scene.struck.write_text(json.dumps({"cut": cut, "by": os.getpid()}))


def _ports() -> set[int]:
    from testlab_local import places, records

    from pytest_testlab.options import Settings
    from pytest_testlab.store.home import home

    base = places.base(home(Settings(home=os.environ["TESTLAB_HOME"])))
    return {record.port for record in records.every(base)}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Take up position."""
    told: dict[str, Any] = json.loads(os.environ["DRILL_STRIKE"])
    config.pluginmanager.register(Strike(config, Case(**told["case"]), Path(told["folder"])), "drill-strike")
