"""Promises: sixteen cloud servers are ready in little more than the time of one, and for three API requests each.

The stand-in for the Hetzner Cloud API (`tests/support/standin`), over HTTP, with loopback hosts: a server takes 25 s to
boot and cloud-init 15 s more, each give or take a fifth, sped up five times, and so are the provider's own pauses. The
pool, the provider, the upkeep and the look for golden snapshots are those of a run.

`provision-16`: seconds until the last of sixteen servers is ready, proven blank over SSH, ÷ those of one alone, the
median of a few (what one takes is drawn, too) ÷ 1.3. `provision-requests`: all requests that the run made to the API
÷ 3 ÷ servers: the reaper's look at its start and that for golden snapshots, orders, actions, prices, keys, deletes, and
the sweep at its end, until nothing is listed twice.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from _common import Row, finish, median, progress
from testlab_hetzner import TOKEN
from testlab_hetzner.provider import HetznerProvider
from testlab_hetzner.times import Times

from pytest_testlab.model import new_run_id
from pytest_testlab.options import Settings
from pytest_testlab.plugins import made, plugin_manager
from pytest_testlab.pool.golden import Golden, Known
from pytest_testlab.pool.pool import Pool, SlotState
from pytest_testlab.pool.upkeep import Upkeep

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from standin import LoopbackHosts, StandIn

SERVERS = 16
SPEED = 5.0
TIMES_ONE = 1.3
REQUESTS_EACH = 3.0
ROUNDS = 3
DEADLINE_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Life:
    """What a run's servers took."""

    seconds: float
    """Until the last was ready."""
    requests: Counter[str]
    """By kind, all that there were."""


def live(servers: int, seed: int) -> Life:
    """Make that many servers on a stand-in of their own, and see them gone; raises `AssertionError`."""
    with StandIn(LoopbackHosts(), speed=SPEED, seed=seed) as standin:
        os.environ.update({name: value for name, value in standin.environ.items() if name != TOKEN})
        provider = HetznerProvider(Settings(credentials={TOKEN: standin.token}), Times().faster(SPEED))
        run = new_run_id(dt.datetime.now(dt.UTC))
        platform = made(plugin_manager(), "platform", provider.default_platform, Settings())
        assert isinstance(platform, Known)
        settled = threading.Semaphore(0)
        pool = Pool(
            provider,
            run=run,
            size=servers,
            image="debian-12",
            changed=lambda slot, _at: settled.release() if slot.state in (SlotState.READY, SlotState.LOST) else None,
            upkeep=Upkeep(provider, run),
            golden=Golden(provider, platform, run=run),
        )
        start = time.perf_counter()
        pool.start(servers)
        for _ in range(servers):
            assert settled.acquire(timeout=DEADLINE_S), pool.say()
        seconds = time.perf_counter() - start
        assert all(slot.state is SlotState.READY for slot in pool.slots), [slot.say for slot in pool.slots]
        errors = pool.close()
        provider.close()
        assert errors == [], errors
        left = {kind: names for kind, names in standin.left().items() if names}
        assert left == {}, left
        assert standin.api.mismatches == []
        return Life(seconds=seconds, requests=standin.counts())


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print a list of rows for programs")
    parser.add_argument("--servers", type=int, default=SERVERS, help=f"at once (default: {SERVERS})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"(default: {ROUNDS})")
    args = parser.parse_args()
    alone, together = [], []
    for number in range(args.rounds):
        progress("provision", number, args.rounds)
        alone.append(live(1, seed=number))
        together.append(live(args.servers, seed=100 + number))
    one, all_ = (median(life.seconds for life in lives) for lives in (alone, together))
    most = max((life.requests for life in together), key=lambda requests: requests.total())
    each = most.total() / args.servers
    figures = {"one_s": round(one, 2), f"all_{args.servers}_s": round(all_, 2), "times": round(all_ / one, 3)}
    rows = [
        Row(promise="provision-16", ratio=all_ / one / TIMES_ONE, bound=1.0, extra=figures),
        Row(
            promise="provision-requests",
            ratio=each / REQUESTS_EACH,
            bound=1.0,
            extra={
                "a_server": round(each, 2),
                "in_all": most.total(),
                **dict(sorted(most.items())),
            },
        ),
    ]
    return finish(rows, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
