"""`make standin`: the stand-in in the foreground, until Ctrl-C; prints what a client must know, to be eval'ed."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable

from standin.hosts import Hosts, NoHosts
from standin.loopback import LoopbackHosts
from standin.standing import StandIn


def _nspawn() -> Hosts:
    from standin.nspawn import NspawnHosts  # root's alone

    return NspawnHosts()


NEXT = """\
# next, in another terminal: export these three, then
#   testlab reap --provider hetzner --dry-run     (is it reached?)
#   pytest --testlab-provider hetzner CATALOG
# Ctrl-C ends the stand-in, and its servers"""
HOSTS: dict[str, Callable[[], Hosts]] = {"none": NoHosts, "loopback": LoopbackHosts, "nspawn": _nspawn}


def main() -> int:
    """Parse, start, wait, end."""
    parser = argparse.ArgumentParser(
        prog="make standin", description="A stand-in for the Hetzner Cloud API on loopback."
    )
    parser.add_argument("--hosts", choices=HOSTS, default="loopback", help="what its servers are (default: loopback)")
    parser.add_argument("--speed", type=float, default=5.0, help="how much faster than the cloud it is (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of how long things take and of faults (default: 0)")
    parser.add_argument("--port", type=int, default=0, help="(default: any)")
    args = parser.parse_args()
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: over.set())
    with StandIn(HOSTS[args.hosts](), speed=args.speed, seed=args.seed, port=args.port) as standin:
        for name, value in standin.environ.items():
            print(f"{name}={value}", flush=True)
        print(NEXT, file=sys.stderr, flush=True)
        over.wait()
        left = {kind: names for kind, names in standin.left().items() if names}
        print(f"# {len(standin.log)} requests; left: {left or 'nothing'}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
