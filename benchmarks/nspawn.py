"""Promises: a host of systemd-nspawn is ready in 3 s, blank again in 3 s, and eight at once are ready in 8 s.

`nspawn-alone`: from the request of one server to its handing over, when its sshd has answered with the key that was
made for it and the host has proven blank. `nspawn-blank`: the same for the next epoch of that server.
`nspawn-eight`: until the last of eight is handed over that were asked for at the same moment, by a thread each, as a
pool does. Seconds ÷ promised seconds, the median of the rounds. Needs root, and makes the image first if it isn't
there, which isn't counted: it is made once and kept.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor

from _common import Row, finish, median, progress, seconds
from testlab_nspawn import images
from testlab_nspawn.hosts import Hosts
from testlab_nspawn.provider import NspawnProvider
from testlab_nspawn.recipes import recipe

from pytest_testlab.model import Server, ServerRequest
from pytest_testlab.options import Settings

ALONE_S = 3.0
BLANK_S = 3.0
EIGHT_S = 8.0
HOSTS = 8


def alone(provider: NspawnProvider, image: str) -> tuple[float, float]:
    """One server made and made blank: the seconds of either."""
    made: list[Server] = []
    request = _request(0, image)
    try:
        first = seconds(lambda: made.append(provider.create(request)))
        again = seconds(lambda: made.append(provider.blank(made[0])))
    finally:
        provider.destroy(Server(name=request.name, provider=provider.name))
    return first, again


def together(provider: NspawnProvider, image: str) -> float:
    """Eight servers at once: the seconds until the last one."""
    wanted = [_request(slot, image) for slot in range(HOSTS)]
    with ThreadPoolExecutor(HOSTS) as threads:
        try:
            return seconds(lambda: list(threads.map(provider.create, wanted)))
        finally:
            list(threads.map(provider.destroy, [Server(name=one.name, provider=provider.name) for one in wanted]))


def rows(image: str, rounds: int) -> list[Row]:
    """Measure all three; a first server is made beforehand, so that what a process does once is not counted."""
    images.prepare(Hosts().places, recipe(image), lambda say: print(say, file=sys.stderr))
    provider = NspawnProvider(Settings())
    alone(provider, image)
    singles, eights = [], []
    for number in range(rounds):
        progress("nspawn", number, rounds)
        singles.append(alone(provider, image))
        eights.append(together(provider, image))
    figures = {
        "nspawn-alone": (median(first for first, _ in singles), ALONE_S),
        "nspawn-blank": (median(again for _, again in singles), BLANK_S),
        "nspawn-eight": (median(eights), EIGHT_S),
    }
    return [
        Row(
            promise=promise,
            ratio=took / promised,
            bound=1.0,
            extra={"seconds": round(took, 2), "promised_s": promised, "image": image, "cores": os.cpu_count() or 0},
        )
        for promise, (took, promised) in figures.items()
    ]


def _request(slot: int, image: str) -> ServerRequest:
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)  # whoever kills this leaves them to the reaper
    return ServerRequest(run=f"bench-{secrets.token_hex(3)}", slot=slot, image=image, expires_at=until)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--image", default="debian-12")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("benchmarks/nspawn.py needs root: it makes hosts of systemd-nspawn")
    return finish(rows(args.image, args.rounds), as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
