"""`python -m drill.pool_cell`: one case of the drill of a pool, against a cloud that stands in for Hetzner's.

The session is the real one with the provider `hetzner`; leases, renewal and expiry are only quicker. Afterwards, past
all expiry and one pass of `testlab reap` later, nothing may be left in the cloud.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import sqlalchemy as sa
from drill import judge, pool_plan
from drill.case import CLOUD, REAPER, Verdict
from drill.cell import HANGS_AFTER_S, Cell, play
from standin import Fault, Kind, LoopbackHosts, StandIn
from standin.nspawn import NspawnHosts
from testlab_local import processes

SPEED = 100.0
"""How much faster the cloud is than Hetzner's."""
LIFE_S = 6.0
"""A server's expiry, renewed while its run lives."""
OUTAGES = (Kind.OUTAGE, Kind.CLOSED)
LOOK_EVERY_S = 0.05


class PoolCell(Cell):
    """A session on servers of a cloud."""

    hangs_after_s = 2 * HANGS_AFTER_S
    """Its end waits for what is still being made, gives servers back, and sweeps: each for a while of its own."""

    standin: StandIn

    def run(self) -> Verdict:
        """Play the case."""
        hosts = NspawnHosts() if self.case.hosts == "nspawn" else LoopbackHosts()
        with StandIn(hosts, speed=SPEED, seed=self.case.number) as self.standin:
            over = threading.Event()
            watch = threading.Thread(target=self._watch, args=(over,), daemon=True)
            watch.start()
            try:
                super().run()
            finally:
                over.set()
                watch.join(10)
        if isinstance(hosts, NspawnHosts):  # bridge, table and mounts go with the last host
            self.verdict.left += [f"on the machine: {trace}" for trace in hosts.left()]
        return self.verdict

    # --- the session --------------------------------------------------------------------------------------------------

    def _environ(self, **more: str) -> dict[str, str]:
        return super()._environ(**self.standin.environ, DRILL_LIFE_S=str(LIFE_S), **more)

    def _play(self, engine: sa.Engine) -> int:
        if self.case.fault:
            threading.Thread(target=self._misbehave, daemon=True).start()
        code = super()._play(engine)
        if self.case.victim == CLOUD:
            self.verdict.struck = any(self.standin.plan.struck.values()) or self._was_away()
        return code

    def _misbehave(self) -> None:
        """From the start; what may hit any request comes once some are through."""
        told = dict(pool_plan.FAULTS[self.case.fault])
        fault = Fault(**told)
        if fault.kind in OUTAGES:
            self._until(lambda: len(self.standin.log) >= self.case.nth, HANGS_AFTER_S)
        else:
            fault.skip = self.case.nth - 1
        self.standin.misbehave(fault)

    def _was_away(self) -> bool:
        return Fault(**pool_plan.FAULTS[self.case.fault]).kind is Kind.CLOSED

    def _spared(self, among: dict[int, processes.Process]) -> set[int]:
        hosts = self.standin.hosts
        if isinstance(hosts, NspawnHosts):
            return hosts.pids()
        assert isinstance(hosts, LoopbackHosts)
        return {hosts.pid, *(one.pid for one in processes.descendants(hosts.pid, among))}

    def _watch(self, over: threading.Event) -> None:
        """No process of the session but those that were given it may have the cloud's token where others can see it."""
        token = self.standin.token.encode()
        while not over.wait(LOOK_EVERY_S):
            for one in processes.descendants(os.getpid(), processes.all_processes()):
                command, environ = _read(one.pid, "cmdline"), _read(one.pid, "environ")
                given = any(word in command for word in (b"-m\0pytest\0", b"/testlab\0"))
                if token in command or (token in environ and not given):
                    say = command.replace(b"\0", b" ").decode(errors="replace")[:100]
                    self.verdict.leaked.append(f"the token stands in the process {say}")
                    return

    # --- afterwards ---------------------------------------------------------------------------------------------------

    def _bring_home(self, engine: sa.Engine, code: int) -> None:
        super()._bring_home(engine, code)
        judge.secrets(self.standin.token, self.folder, engine, self.verdict)

    def _judge_servers(self) -> None:
        """One pass of the reaper past all expiry, once the cloud is itself again: then nothing is left of it."""
        self._end_of_outage()
        self._until_expired()
        if self.case.victim == REAPER:
            began = self._start_reaper()
            time.sleep(random.Random(self.case.number).uniform(0.2, 2.0))
            self.verdict.struck = self.verdict.struck and began.poll() is None
            began.kill()
            began.wait()
        code = self._start_reaper().wait(HANGS_AFTER_S)
        if code != 0:
            self.verdict.wrong.append(f"testlab reap ended with {code}: {_tail(self.folder / 'reap.log')}")
        left = {kind: names for kind, names in self.standin.left().items() if names}
        self.verdict.left += [f"{kind}: {', '.join(names)}" for kind, names in left.items()]
        self.verdict.wrong += self.standin.api.mismatches[:3]

    def _start_reaper(self) -> subprocess.Popen[bytes]:
        return self._command("reap", "--provider", "hetzner", "--grace", "1s")

    def _end_of_outage(self) -> None:
        """What is promised is counted from the end of the cloud's own trouble: what is stuck there is let go of."""
        kind = Fault(**pool_plan.FAULTS[self.case.fault]).kind if self.case.fault else None
        if kind in (*OUTAGES, Kind.ENDLESS_ACTION):
            self.standin.behave()
            self.standin.cloud.let_go()

    def _until_expired(self) -> None:
        """Past the expiry of whatever is there, by its own label; and past the clock's seconds."""
        time.sleep(LIFE_S + 2.0 if any(self.standin.left().values()) else 0.0)


def _read(pid: int, name: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def _tail(file: Path) -> str:
    return " | ".join(file.read_text(errors="replace").strip().splitlines()[-3:])


if __name__ == "__main__":
    sys.exit(play(PoolCell))
