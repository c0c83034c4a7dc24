"""Promises: a bundle costs a round trip and a half and its bytes; five times less than one command a section.

A real sshd, behind a relay that adds 50 ms each way and lets 50 Mbit/s pass. The sections are the engine's and the
platform `procfile`'s own, nine of them, over logs as large as logs are.

`bundle-round-trips`: all of `collect` by the clock, from the call until the sections are there, what the target's own
commands take included (`work_ms` has it apart: the same script on this machine without a line), ÷ (1.5 × 100 ms +
bytes of the sections ÷ bandwidth). The line is open, and a channel was prepared for it, as a test does when it begins.
`bundle-speedup`: 5 ÷ how much faster that is than one plain asyncssh `run` a section on an open line.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import asyncssh
from _common import Row, alternate, finish, median, seconds
from _relay import relay
from _sshd import Sshd, as_account, sshd

from pytest_testlab.diagnosis.collect import collect, prepare
from pytest_testlab.diagnosis.script import compose
from pytest_testlab.diagnosis.sections import built_in_sections
from pytest_testlab.model import Application, Deployment, Entry, Section, Server, SshAddress, Suite
from pytest_testlab.platform.procfile import ProcfilePlatform
from pytest_testlab.target.loop import wait_for
from pytest_testlab.target.ssh import SshTarget, connect

DELAY_MS = 50.0
MBIT = 50.0
TRIPS = 1.5
SPEEDUP = 5.0
DEADLINE_S = 20.0
LINES = {"build": 1_800, "deploy": 60, "app": 5_000, "nginx-error": 25, "nginx-access": 1_200}
"""Lines of some 90 bytes in each log: what a test leaves that installs a dozen packages and is asked for a while."""
READ = 'for part in {files}; do [ ! -f "$part" ] || [ -L "$part" ] || cat "$part"; done'
PLAIN = '(\nabsent() {{ printf "%s\\n" "$*"; exit 0; }}\n{script}'


def sections_of(target: SshTarget, folder: Path) -> list[Section]:
    """The nine sections of an app whose logs are there."""
    entry = Entry(
        name="hello",
        suite=Suite.APPS,
        file=folder / "testlab.toml",
        build=("make",),
        command="serve",
    )
    platform = ProcfilePlatform()
    deployment = platform.place(target, Application(entry=entry, nonce="0123456789ab"))
    _write_logs(deployment, folder)
    mine = [*platform.sections(target, deployment), platform.probe(target, deployment)]
    return [*mine, *built_in_sections(target.server, deployment)]


def _write_logs(deployment: Deployment, folder: Path) -> None:
    logs = Path(deployment.data["logs"])
    logs.mkdir(parents=True)
    for name, lines in LINES.items():
        text = "".join(
            f"2026-11-20T02:{number // 60 % 60:02}:{number % 60:02}Z {name}: step {number} of {secrets.token_hex(8)} "
            f"took {number % 977} ms for /srv/app/static/{number}\n"
            for number in range(lines)
        )
        (logs / f"{name}.log").write_text(text)
    status = folder.stat()
    for path in folder.rglob("*"):
        os.chown(path, status.st_uid, status.st_gid)


async def one_a_section(line: asyncssh.SSHClientConnection, sections: Sequence[Section]) -> int:
    """What one would write without a collector: a command a section, one after the other; returns its bytes."""
    had = 0
    for section in sections:
        script = section.script or READ.format(files=" ".join(map(shlex.quote, section.files)))
        done = await line.run(PLAIN.format(script=script) + f"\n) 2>&1 | tail -c {section.tail_bytes}")
        had += len(done.stdout or "")
    return had


def work_s(sections: Sequence[Section], server: Sshd) -> float:
    """The same script without a line."""
    script = compose(sections, "testlab-" + secrets.token_hex(16), int(DEADLINE_S)).encode()

    def run() -> None:
        subprocess.run(
            ["sh", "-c", 'eval "$(cat)"'],
            input=script,
            stdout=subprocess.PIPE,
            check=True,
            cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": str(server.folder)},
            **as_account(server.account),  # type: ignore[call-overload]
        )

    return median(seconds(run) for _ in range(7))


def rows(rounds: int) -> list[Row]:
    """Measure both promises in the same run."""
    with sshd() as server, relay(server.address.port, delay_ms=DELAY_MS, mbit=MBIT) as port:
        address = dataclasses.replace(server.address, port=port)
        facts = {"root": str(server.folder / "target")}
        target = SshTarget(Server(name="bench", provider="ssh", ssh=address, facts=facts))
        try:
            return _rows(target, server, address, rounds)
        finally:
            target.close()


def _rows(target: SshTarget, server: Sshd, address: SshAddress, rounds: int) -> list[Row]:
    sections = sections_of(target, server.folder)
    plain = wait_for(connect(address, 10), 20)
    ours: list[float] = []
    theirs: list[float] = []
    unprepared: list[float] = []
    kept: list[int] = []

    def prepared() -> None:
        prepare(target)
        time.sleep(0.5)  # the test's own time
        ours.append(seconds(lambda: kept.append(_collected(target, sections))))

    alternate(
        rounds,
        prepared,
        lambda: unprepared.append(seconds(lambda: _collected(target, sections))),
        lambda: theirs.append(seconds(lambda: wait_for(one_a_section(plain, sections), 60))),
        what="bundle",
    )
    wait_for(_hang_up(plain), 5)
    took, plainly = median(ours), median(theirs)
    size = median(kept)
    line_s = TRIPS * 2 * DELAY_MS / 1000 + size / (MBIT * 1e6 / 8)
    extra = {
        "collected_ms": round(took * 1000),
        "promised_ms": round(line_s * 1000),
        "work_ms": round(work_s(sections, server) * 1000),
        "bytes": round(size),
        "sections": len(sections),
        "unprepared_ms": round(median(unprepared) * 1000),
    }
    speed = {"speedup": round(plainly / took, 1), "one_a_section_ms": round(plainly * 1000)}
    return [
        Row(promise="bundle-round-trips", ratio=took / line_s, bound=1.0, extra=extra),
        Row(promise="bundle-speedup", ratio=SPEEDUP * took / plainly, bound=1.0, extra=speed),
    ]


def _collected(target: SshTarget, sections: Sequence[Section]) -> int:
    """Collect; returns the bytes kept. A bundle that lacks what is there is no measurement."""
    found = {section.name: section for section in collect(target, sections, deadline_s=DEADLINE_S)}
    wanted = {*LINES, "proxy-probe", "resources", "dns"}
    for name in wanted:
        if found[name].absent is not None:
            sys.exit(f"the section {name} was not collected: {found[name].absent}")
    return sum(len(section.text) for section in found.values())


async def _hang_up(line: asyncssh.SSHClientConnection) -> None:
    line.abort()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    return finish(rows(args.rounds), as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
